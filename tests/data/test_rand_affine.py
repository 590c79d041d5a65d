"""The random affine map and zoom of MT-Net's training, measured on a disc."""

from __future__ import annotations

import json
from pathlib import Path

import monai
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import RandZoomd

from lung_nodule.data import RandSliceAffined
from lung_nodule.errors import InputError

ROOT = Path(__file__).parents[2]
SIZE, RADIUS, DRAWS = 96, 14.0, 60
KEYS = {"keys": ["image", "label"], "mode": ["bilinear", "nearest"], "padding_mode": "border", "prob": 1.0}


def disc() -> dict[str, torch.Tensor]:
    """A disc with a soft edge and its label, float32 ``[1, SIZE, SIZE]``."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    image = torch.tensor(np.clip(RADIUS + 0.5 - np.hypot(rows, columns), 0, 1), dtype=torch.float32)[None]
    return {"image": image, "label": (image >= 0.5).float()}


def moments(image: torch.Tensor) -> tuple[float, np.ndarray, np.ndarray]:
    """Area, centroid and covariance of an image's mass."""
    mass = np.asarray(image)[0]
    grid = np.stack(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2)
    center = (grid * mass).sum((1, 2)) / mass.sum()
    offset = grid - center[:, None, None]
    return float(mass.sum()), center, np.einsum("iyx,jyx,yx->ij", offset, offset, mass) / mass.sum()


def elongation(covariance: np.ndarray) -> float:
    """Longest by shortest axis."""
    shortest, longest = np.linalg.eigvalsh(covariance)
    return float(np.sqrt(longest / shortest))


def draws(transform: monai.transforms.RandomizableTransform) -> list[dict[str, torch.Tensor]]:
    transform.set_random_state(seed=0)
    return [transform(disc()) for _ in range(DRAWS)]


def test_scale_keeps_a_disc_a_disc() -> None:
    whole, _, _ = moments(disc()["image"])
    factors = []
    for drawn in draws(RandSliceAffined(scale=0.2, **KEYS)):
        area, _, covariance = moments(drawn["image"])
        factors.append(np.sqrt(area / whole))
        assert elongation(covariance) == pytest.approx(1, abs=0.005)
        assert np.trace(covariance) / 2 == pytest.approx(area / np.pi / 4, rel=0.02)
    assert 0.79 < min(factors) < 0.85
    assert 1.15 < max(factors) < 1.21


def test_shifts_spread_along_both_axes_alike() -> None:
    centers = np.array([moments(drawn["image"])[1] for drawn in draws(RandSliceAffined(translate=10.0, **KEYS))])
    assert np.abs(centers).max() < 10.1
    np.testing.assert_allclose(centers.std(axis=0), 10 / np.sqrt(3), rtol=0.2)
    assert abs(np.corrcoef(centers.T)[0, 1]) < 0.35


def test_shear_is_along_either_axis() -> None:
    grid = RandSliceAffined(shear=0.1, **KEYS).rand_affine.rand_affine_grid.set_random_state(seed=0)
    drawn = []
    for _ in range(DRAWS):
        grid.randomize()
        drawn.append(grid.shear_params)
    drawn = np.array(drawn)
    assert (np.count_nonzero(drawn, axis=1) == 1).all()
    assert np.abs(drawn).max(axis=0) == pytest.approx([0.1, 0.1], abs=0.02)
    longest = max(elongation(moments(drawn["image"])[2]) for drawn in draws(RandSliceAffined(shear=0.1, **KEYS)))
    assert 1.08 < longest < 1.11


def test_rotation_moves_nothing_else() -> None:
    bar = torch.zeros(1, SIZE, SIZE)
    bar[:, 40:56, 20:76] = 1
    transform = RandSliceAffined(rotate=0.3, **KEYS).set_random_state(seed=0)
    angles = []
    for _ in range(DRAWS):
        area, center, covariance = moments(transform({"image": bar, "label": bar})["image"])
        assert area == pytest.approx(16 * 56, rel=0.01)
        np.testing.assert_allclose(center, 0, atol=0.05)
        angles.append(0.5 * np.arctan2(2 * covariance[0, 1], covariance[1, 1] - covariance[0, 0]))
    assert -0.31 < min(angles) < -0.2
    assert 0.2 < max(angles) < 0.31


def test_wrong_ranges_are_refused() -> None:
    for wrong in ({"scale": 1.0}, {"scale": -0.1}, {"translate": -1.0}, {"rotate": float("nan")}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            RandSliceAffined(**wrong, **KEYS)


def test_image_and_label_of_mtnets_training_move_together() -> None:
    """The bundle's own transforms: nothing that the label does differs from what the image does."""
    for name in ("RandZoomd", "RandSliceAffined"):
        pairs = [(moments(drawn["image"]), moments(drawn["label"])) for drawn in draws(trained(name))]
        images, labels = zip(*pairs, strict=True)
        apart = np.array([label[1] - image[1] for image, label in pairs])
        np.testing.assert_allclose(apart, 0, atol=0.3, err_msg=name)
        np.testing.assert_allclose(apart.mean(axis=0), 0, atol=0.06, err_msg=name)
        areas = np.array([label[0] / image[0] for image, label in pairs])
        np.testing.assert_allclose(areas, 1, atol=0.1, err_msg=name)
        assert areas.mean() == pytest.approx(1, abs=0.02), name
        longest = [max(elongation(each[2]) for each in each_key) for each_key in (images, labels)]
        assert longest[1] == pytest.approx(longest[0], abs=0.03), name


def test_mtnets_zoom_keeps_a_disc_a_disc() -> None:
    zoom = trained("RandZoomd")
    assert isinstance(zoom, RandZoomd)
    assert max(elongation(moments(drawn["image"])[2]) for drawn in draws(zoom)) < 1.01


def trained(name: str) -> monai.transforms.RandomizableTransform:
    """One of the transforms of mtnet's train.json, with a patch of 64 mm on the disc's grid, applied to every item."""
    config = json.loads((ROOT / "bundles/mtnet/configs/train.json").read_text())
    [section] = [part for part in config["augment"]["transforms"] if part["_target_"].endswith(name)]
    changes = {"image_size": SIZE, "patch_mm": 64.0, "transform": {**section, "prob": 1.0}}
    parser = ConfigParser({**config, **changes})
    return parser.get_parsed_content("transform")


def test_monais_own_ranges_are_refused() -> None:
    with pytest.raises(InputError, match="rotate_range, scale_range: give rotate, shear, translate or scale"):
        RandSliceAffined(keys="image", rotate=0.1, rotate_range=1.5, scale_range=0.5)
