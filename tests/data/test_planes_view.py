"""From a nodule's files to its nine views, and their augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lung_nodule.core import PlanesView, check_voi
from lung_nodule.data import LoadVOI, RandAugmentViews, ViewNodule, nodule_datalist
from lung_nodule.data.augment_planes import shift_view

VIEW = ViewNodule(PlanesView(patch_mm=32.0, image_size=32))


@pytest.fixture(scope="module")
def nodule(painted: Path) -> dict:
    return LoadVOI(with_mask=False)(nodule_datalist(painted, folds=[0])[1])


def test_a_nodule_is_in_the_middle_of_all_nine_views(nodule: dict) -> None:
    viewed = VIEW(nodule)
    assert viewed["image"].shape == (9, 32, 32)
    assert viewed["image"].dtype == torch.float32
    assert viewed["image"][:, 14:18, 14:18].min() > 0.6  # soft tissue, 40 HU
    assert viewed["image"][:, 0].mean() < 0.2  # lung, -850 HU
    assert 0 <= viewed["image"].min() <= viewed["image"].max() <= 1


def test_a_ball_looks_the_same_from_everywhere(nodule: dict) -> None:
    radius = nodule["diameter_mm"] / 2
    areas = (VIEW(nodule)["image"] > (-405 + 1000) / 1400).sum(dim=(1, 2))
    assert areas.numpy() == pytest.approx(np.full(9, np.pi * radius**2), rel=0.1)


def test_the_mask_is_not_looked_at_and_beyond_the_patch_nothing_counts(nodule: dict) -> None:
    small = ViewNodule(PlanesView(patch_mm=12.0, image_size=24, order=1))
    box = (slice(10, 46), slice(10, 46), slice(3, 22))
    crop = {**nodule, "ct": nodule["ct"][box], "center": nodule["center"] - [10, 10, 3]}
    np.testing.assert_allclose(small(crop)["image"], small(nodule)["image"], atol=1e-5)


def test_a_voi_smaller_than_the_cube_is_padded_never_stretched(nodule: dict) -> None:
    wide, narrow = (ViewNodule(PlanesView(patch_mm=size, image_size=size))(nodule)["image"] for size in (64, 24))
    check_voi(nodule["ct"], nodule["spacing"], nodule["center"])
    np.testing.assert_allclose(wide[:, 20:44, 20:44], narrow, atol=1e-5)
    np.testing.assert_array_equal(wide[2, 0], wide[2, 5])  # beyond the VOI along z


def test_augmented_views_are_shifted_turned_and_flipped_each_on_its_own() -> None:
    marked = np.zeros((9, 24, 24), dtype=np.float32)
    marked[:, 11, 14] = 1
    augment = RandAugmentViews(prob=1.0).set_random_state(seed=0)
    seen = [augment({"image": torch.from_numpy(marked)})["image"] for _ in range(60)]
    places = np.array([np.argwhere(view.numpy() == 1)[0] for views in seen for view in views])
    assert all((views.sum(dim=(1, 2)) == 1).all() for views in seen)
    assert (places.min(), places.max()) == (3, 20)  # the pixel or its mirror image (9, 12), 6 pixels away
    assert len({tuple(place) for place in places}) > 150
    assert any(len({tuple(np.argwhere(v.numpy() == 1)[0]) for v in views}) > 6 for views in seen)


def test_a_fifth_of_the_draws_is_left_as_it_is() -> None:
    image = torch.rand(9, 16, 16)
    augment = RandAugmentViews().set_random_state(seed=0)
    same = torch.stack([(augment({"image": image})["image"] == image).all(dim=2).all(dim=1) for _ in range(100)])
    assert same.float().mean().item() == pytest.approx(0.2, abs=0.05)


def test_a_shift_repeats_the_edge() -> None:
    image = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(shift_view(image, 1, -1), [[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]])


def test_the_same_seed_draws_the_same_views() -> None:
    image = torch.rand(9, 16, 16)
    draws = [RandAugmentViews().set_random_state(seed=3)({"image": image})["image"] for _ in range(2)]
    assert torch.equal(*draws)
