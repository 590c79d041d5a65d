"""MTMR-Net's view: the adaptive square at inference, a random part of it in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lung_nodule.core import SquareView
from lung_nodule.data import LoadVOI, RandNoduleSlice, RandSquarePart, ViewNodule, nodule_datalist
from lung_nodule.errors import InputError

SIZE = 48
VIEW = SquareView(image_size=SIZE)


@pytest.fixture(scope="module")
def nodule(painted: Path) -> dict:
    return LoadVOI()(nodule_datalist(painted, folds=[0])[1])


@pytest.fixture(scope="module")
def drawn(nodule: dict) -> dict:
    """One of its slices."""
    return RandNoduleSlice().set_random_state(seed=1)(nodule)


def coordinates(data: dict) -> dict:
    """The nodule's CT replaced by the distance from the centre along x, 10 HU a mm."""
    x = (np.arange(data["ct"].shape[0]) - data["center"][0]) * data["spacing"][0]
    return {**data, "ct": np.broadcast_to(10 * x[:, None, None], data["ct"].shape)}


def in_mm(image: torch.Tensor) -> np.ndarray:
    """Back from 0..1 to the distance along x."""
    return (image.numpy() * 1400 - 1000) / 10


def test_pixels_lie_where_the_diameter_puts_them(nodule: dict) -> None:
    for diameter, edge in ((10.0, 24.0), (20.0, 30.0)):
        viewed = ViewNodule(VIEW)(coordinates({**nodule, "diameter_mm": diameter}))
        expected = (np.arange(SIZE) - (SIZE - 1) / 2) * edge / SIZE
        np.testing.assert_allclose(in_mm(viewed["image"])[0, :, 7, 0], expected, atol=0.02)


def test_slices_lie_within_half_the_declared_diameter(nodule: dict) -> None:
    viewed = ViewNodule(VIEW)({**nodule, "diameter_mm": 11.0})
    distance = np.abs(np.arange(nodule["ct"].shape[2]) - nodule["center"][2]) * nodule["spacing"][2]
    assert viewed["patch"].slices.tolist() == np.flatnonzero(distance <= 5.5).tolist()
    assert viewed["image"].shape == (1, SIZE, SIZE, len(viewed["patch"].slices))


def test_the_papers_way_sees_the_masks_slices(nodule: dict) -> None:
    viewed = ViewNodule(VIEW, slices="mask")({**nodule, "diameter_mm": 3.0})
    assert viewed["image"].shape[3] == nodule["mask"].any(axis=(0, 1)).sum()


def test_inference_looks_at_no_mask(nodule: dict) -> None:
    without = {key: value for key, value in nodule.items() if key != "mask"}
    viewed = ViewNodule(VIEW)
    np.testing.assert_array_equal(viewed(without)["image"], viewed(nodule)["image"])


def cut(nodule: dict, low: tuple[int, int, int], high: tuple[int, int, int]) -> dict:
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return {**nodule, "ct": nodule["ct"][box], "mask": nodule["mask"][box], "center": nodule["center"] - low}


def test_a_small_voi_is_padded_with_its_edge_and_never_stretched(nodule: dict) -> None:
    """A crop of 14 mm in a square of 24: the same pixels where it reaches, its border's values beyond."""
    small = cut(nodule, (18, 18, 0), (38, 38, 24))
    whole, padded = (ViewNodule(VIEW)({**n, "diameter_mm": 8.0})["image"][0] for n in (nodule, small))
    inside = slice(13, 35)
    np.testing.assert_allclose(padded[inside, inside], whole[inside, inside], atol=1e-5)
    assert (padded[:6] == padded[:1]).all()
    assert (padded[:, -6:] == padded[:, -1:]).all()


def test_what_lies_beyond_the_square_changes_nothing(nodule: dict) -> None:
    tight = cut(nodule, (8, 8, 5), (48, 48, 19))
    whole, cropped = (ViewNodule(VIEW)({**n, "diameter_mm": 8.0})["image"] for n in (nodule, tight))
    np.testing.assert_allclose(cropped, whole, atol=1e-5)


def test_training_without_chance_is_inference(nodule: dict, drawn: dict) -> None:
    trained = RandSquarePart(VIEW, scale=(1.0, 1.0))(drawn)
    viewed = ViewNodule(VIEW, slices="mask")(nodule)["image"]
    nearest = (viewed[0] - trained["image"][0, :, :, None]).abs().amax(dim=(0, 1)).min()
    assert nearest < 1e-5


def test_a_random_part_lies_inside_the_square_and_keeps_its_shape(drawn: dict) -> None:
    draw, edges, middles = RandSquarePart(VIEW).set_random_state(seed=0), [], []
    for _ in range(60):
        seen = in_mm(draw(coordinates({**drawn, "diameter_mm": 20.0}))["image"])[0, :, 0]
        edges.append((seen[-1] - seen[0]) * SIZE / (SIZE - 1))
        middles.append((seen[-1] + seen[0]) / 2)
    edges, middles = np.array(edges), np.array(middles)
    assert edges.min() >= 30 * np.sqrt(0.7) - 0.05
    assert edges.max() <= 30.05
    assert (np.abs(middles) + edges / 2 <= 15.05).all()
    assert edges.std() > 0.5
    assert middles.std() > 0.2


def test_targets_are_the_readers_on_zero_to_one(drawn: dict) -> None:
    item = RandSquarePart(VIEW)({**drawn, "malignancy_mean": 4.0, "calcification_mean": 6.0})
    assert item["image"].shape == (1, SIZE, SIZE)
    assert (item["malignancy"], item["score"]) == (1.0, 0.75)
    assert item["attributes"].shape == (8,)
    assert item["attributes"][2] == 1.0
    off = RandSquarePart(VIEW)({**drawn, "internal_structure_mean": 5.0})  # of 1-4, as LIDC-IDRI-0510 has
    assert off["attributes"].max() <= 1
    assert {value.dtype for key, value in item.items() if key != "nodule_id"} == {torch.float32}


def test_the_released_codes_crop_cuts_the_border_and_stretches(nodule: dict) -> None:
    viewed = ViewNodule(SquareView(image_size=SIZE, crop="paper_code"))({**nodule, "diameter_mm": 16.0})
    assert viewed["patch"].patch_mm == pytest.approx(14.0)
    assert viewed["image"].amin() == 0
    assert viewed["image"].amax() == pytest.approx(1.0)


def test_bad_input_is_named(nodule: dict) -> None:
    with pytest.raises(InputError, match=r"SYN-0000_a0001: .* got nan; correct `diameter_mm`"):
        ViewNodule(VIEW)({**nodule, "diameter_mm": float("nan")})
    with pytest.raises(InputError, match="crop must be one of adaptive, paper_code"):
        SquareView(image_size=SIZE, crop="tight")
    with pytest.raises(InputError, match="scale must be"):
        RandSquarePart(VIEW, scale=(0.5, 1.5))
