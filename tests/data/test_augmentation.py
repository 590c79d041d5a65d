"""What the random transforms of every bundle's training do to shapes: nothing along one axis alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from lung_nodule.core import SquareView
from lung_nodule.data import (
    RandAugmentViews,
    RandSquarePart,
)
from lung_nodule.lidc import ATTRIBUTES

BUNDLES = Path(__file__).parents[2] / "bundles"
SIZE = 48
SCALAR_IS_AXIS_0 = ("rotate_range", "shear_range", "translate_range", "scale_range")


def targets(config: object) -> Iterator[dict]:
    """Every section of a configuration with a ``_target_``."""
    for part in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from targets(part)
    if isinstance(config, dict) and "_target_" in config:
        yield config


def written(bundle: str) -> dict:
    """A bundle's train.json."""
    return json.loads((BUNDLES / bundle / "configs/train.json").read_text())


def training(bundle: str) -> list[dict]:
    return list(targets(written(bundle)))


def named(bundle: str, name: str) -> list[dict]:
    return [part for part in training(bundle) if part["_target_"] == name]


@pytest.mark.parametrize("bundle", sorted(path.name for path in BUNDLES.iterdir()))
def test_no_range_is_read_for_one_axis_and_no_label_lies_beside_its_image(bundle: str) -> None:
    assert named(bundle, "lung_nodule.data.RandCropMargin") or named(bundle, "lung_nodule.data.RandCropVariant")
    for part in training(bundle):
        for option in SCALAR_IS_AXIS_0:
            assert np.ndim(part.get(option, [0, 0])) == 1, (part["_target_"], option)
        if part["_target_"] in ("RandZoomd", "Zoomd", "Resized"):  # "nearest" of interpolate is half a pixel off
            assert not re.search(r"nearest(?!-exact)", str(part["mode"])), part


@pytest.mark.parametrize(("bundle", "axes"), [("mtnet", 2), ("mtmrnet", 2), ("e2emtl", 3)])
def test_every_axis_is_flipped(bundle: str, axes: int) -> None:
    assert sorted(part["spatial_axis"] for part in named(bundle, "RandFlipd")) == list(range(axes))


def test_flips_and_quarter_turns_of_e2emtl_keep_a_cube_and_move_all_of_it_together() -> None:
    """One marked voxel: it is seen in all places that flips and axial turns lead to, and nowhere else."""
    parts = named("e2emtl", "RandFlipd") + named("e2emtl", "RandRotate90d")
    move = Compose(ConfigParser({**written("e2emtl"), "all": parts}).get_parsed_content("all"))
    move.set_random_state(seed=0)
    marked = torch.zeros(1, 6, 6, 6)
    marked[0, 0, 1, 2] = 1
    seen = []
    for _ in range(200):
        moved = move({"image": marked.repeat(3, 1, 1, 1), "label": marked, "inside": marked})
        places = {tuple(place) for key in moved for channel in moved[key] for place in np.argwhere(np.asarray(channel))}
        assert len(places) == 1
        seen.append(places.pop())
    spots = {(row, column) for row, column, _ in seen}
    assert spots == {(a, b) for a in (0, 5) for b in (1, 4)} | {(b, a) for a in (0, 5) for b in (1, 4)}
    assert {depth for _, _, depth in seen} == {2, 3}


def disc() -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.clip(8.5 - np.hypot(rows, columns), 0, 1).astype(np.float32)


def spread(image: np.ndarray) -> tuple[float, np.ndarray]:
    """Longest by shortest axis, and centroid."""
    grid = np.stack(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2)
    center = (grid * image).sum((1, 2)) / image.sum()
    offset = grid - center[:, None, None]
    shortest, longest = np.linalg.eigvalsh(np.einsum("iyx,jyx,yx->ij", offset, offset, image) / image.sum())
    return float(np.sqrt(longest / shortest)), center


def test_views_of_mtcnn_are_shifted_along_both_axes_and_keep_a_disc() -> None:
    augment = RandAugmentViews(prob=1.0).set_random_state(seed=0)
    views = np.concatenate([augment({"image": np.stack([disc()] * 9)})["image"].numpy() for _ in range(20)])
    elongations, centers = zip(*map(spread, views), strict=True)
    assert max(elongations) < 1.001
    np.testing.assert_allclose(np.std(centers, axis=0), np.sqrt((13**2 - 1) / 12), rtol=0.15)


def test_the_random_part_of_mtmrnets_square_keeps_a_disc_and_moves_along_both_axes() -> None:
    hounsfield = np.rint(1400 * disc().T - 1000).astype(np.int16)[:, :, None]
    middle = (SIZE - 1) / 2
    item = {"nodule_id": "n1", "ct": hounsfield, "spacing": np.ones(3), "center": np.array([middle, middle, 0.0])}
    item |= {"diameter_mm": 30.0, "malignant": 1, "malignancy_mean": 4.0}
    item |= {f"{name}_mean": 3.0 for name in ATTRIBUTES}
    draw = RandSquarePart(SquareView(image_size=SIZE)).set_random_state(seed=0)
    elongations, centers = zip(*(spread(draw(item)["image"][0].numpy()) for _ in range(60)), strict=True)
    assert max(elongations) < 1.01
    across, along = np.std(centers, axis=0)
    assert 0.7 < across / along < 1.4
    assert min(across, along) > 0.5
