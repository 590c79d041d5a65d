"""The component at the centre, the slices' weights, and the checks of a VOI."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lung_nodule.core import (
    SlicePatch,
    central_component,
    check_request,
    check_voi,
    nodule_mask,
    nodule_score,
    slice_weights,
    window,
)


@pytest.mark.parametrize("density", [0.2, 0.35, 0.5, 0.8])
def test_component_equals_scipys(density: float) -> None:
    random = np.random.default_rng(int(density * 100))
    for _ in range(10):
        mask = random.random((5, 14, 13)) < density
        center = tuple(int(random.integers(n)) for n in mask.shape)
        voxels = np.argwhere(mask)
        nearest = voxels[((voxels - np.array(center)) ** 2).sum(axis=1).argmin()]
        labels, _ = ndimage.label(mask)
        assert (central_component(mask, center) == (labels == labels[tuple(nearest)])).all()


def patch_of_slices(slices: int, image_size: int, central: int) -> SlicePatch:
    """A patch with so many slices, the centre in one of them."""
    center = (image_size / 2, image_size / 2, float(central))
    return SlicePatch((image_size, image_size, slices), (1.0, 1.0, 1.0), center, image_size, image_size, 99.0)


def test_nearest_is_measured_in_mm() -> None:
    """Slices 2.5 mm apart, pixels of 0.5 mm: two slices away is farther than six pixels."""
    mask = np.zeros((9, 21, 21), dtype=bool)
    mask[6, 10, 10] = mask[4, 10, 16] = True
    assert central_component(mask, (4, 10, 10))[6, 10, 10]
    assert central_component(mask, (4, 10, 10), (2.5, 0.5, 0.5))[4, 10, 16]


def test_component_of_nothing_is_nothing() -> None:
    assert not central_component(np.zeros((2, 3, 4), dtype=bool), (0, 1, 1)).any()


def test_weights_are_the_share_of_the_central_component() -> None:
    coarse = np.zeros((4, 20, 20))
    coarse[1, 8:12, 8:12] = coarse[2, 8:12, 8:10] = 0.9
    coarse[3, 0:5, 0:5] = 0.9  # a vessel elsewhere
    np.testing.assert_allclose(slice_weights(coarse, patch_of_slices(4, 20, 1)), [0, 2 / 3, 1 / 3, 0])


def test_an_empty_coarse_mask_leaves_the_central_slice() -> None:
    weights = slice_weights(np.full((5, 4, 4), 0.4), patch_of_slices(5, 4, 3))
    np.testing.assert_allclose(weights, [0, 0, 0, 1, 0])
    assert nodule_score(np.arange(5) / 10, weights) == pytest.approx(0.3)


def test_score_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="3 slice scores do not fit 2"):
        nodule_score(np.ones(3), np.ones(2))


def test_window_clips_and_scales() -> None:
    hu = np.array([-3024, -1000, -300, 400, 3071], dtype=np.int16)
    np.testing.assert_allclose(window(hu, -1000.0, 400.0), [0, 0, 0.5, 1, 1])
    with pytest.raises(ValueError, match="lower < upper"):
        window(hu, 10, 10)


def test_the_mask_is_what_hangs_together_at_the_centre() -> None:
    probability = np.zeros((9, 9, 9))
    probability[3:6, 3:6, 3:6] = 0.5
    probability[0, 0, 0] = 1.0
    mask = nodule_mask(probability, np.array([4.4, 3.6, 4.0]), np.ones(3))
    assert mask.sum() == 27
    assert not mask[0, 0, 0]


VOI, SPACING, CENTER = np.zeros((8, 9, 10)), np.ones(3), np.array([4.0, 4.0, 4.0])


@pytest.mark.parametrize(
    ("voi", "spacing", "center", "message"),
    [
        (np.zeros((8, 9)), SPACING, CENTER, "volume"),
        (np.where(np.indices(VOI.shape)[0] == 2, np.nan, 0), SPACING, CENTER, "90 voxels that are NaN"),
        (VOI, np.array([1, 0, 1]), CENTER, "spacing must be positive"),
        (VOI, np.array([1, 1e9, 1]), CENTER, "at most 20.0"),
        (VOI, np.array([1, np.nan, 1]), CENTER, "three finite numbers"),
        (VOI, SPACING, np.array([4, 4, 40]), "outside the VOI"),
        (VOI, SPACING, np.array([4, 4]), "three finite numbers"),
    ],
)
def test_bad_vois_are_named(voi: np.ndarray, spacing: np.ndarray, center: np.ndarray, message: str) -> None:
    check_voi(VOI, SPACING, CENTER)
    with pytest.raises(ValueError, match=message):
        check_voi(voi, spacing, center)


def test_a_request_of_a_very_long_voi_is_refused() -> None:
    """Splines take the cube of an edge's length."""
    long = np.full((2, 2, 2000), -800.0)
    check_voi(long, SPACING, np.array([1, 1, 1000]))
    with pytest.raises(ValueError, match=r"shape \[2, 2, 2000\], at most 1024 voxels are taken along an edge"):
        check_request(long, SPACING, np.array([1, 1, 1000]))
