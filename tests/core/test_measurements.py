"""Measurements of a nodule against scipy, scikit-image and analytic cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lung_nodule.core import MEASUREMENTS, measure, measure_ball

SPACING = np.array([0.7, 0.8, 1.5])


def nodule(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A noisy CT and an irregular mask that touches one face."""
    random = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(random.normal(size=(20, 18, 9)), 2) > 0.05
    mask[:, :, 5:] = False
    return random.normal(-300, 400, mask.shape), mask


def test_densities_are_those_of_the_masked_voxels() -> None:
    ct, mask = nodule()
    measured, voxels = measure(ct, mask, SPACING), ct[mask]
    assert tuple(measured) == MEASUREMENTS
    assert measured["hu_mean"] == pytest.approx(voxels.mean())
    assert measured["hu_std"] == pytest.approx(voxels.std())
    assert [measured[f"hu_{q}"] for q in (10, 50, 90)] == pytest.approx(np.percentile(voxels, [10, 50, 90]))
    assert measured["calcified"] == pytest.approx(np.mean(voxels > 200))
    assert np.exp(measured["log_volume"]) == pytest.approx(mask.sum() * SPACING.prod())


def test_border_and_surroundings_are_scipys_shells() -> None:
    ct, mask = nodule(1)
    outer = ndimage.binary_dilation(mask) & ~mask
    inner = mask & ~ndimage.binary_erosion(mask)
    gradient = np.gradient(np.clip(ct, -1000, 400), *SPACING)
    measured = measure(ct, mask, SPACING)
    assert measured["surroundings"] == pytest.approx(ct[outer].mean())
    assert measured["edge"] == pytest.approx(np.sqrt(np.sum(np.square(gradient), axis=0))[inner | outer].mean())


def test_the_surface_of_a_box_is_its_faces() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[2:5, 3:7, 4:6] = True
    a, b, c = np.array([3, 4, 2]) * SPACING
    measured = measure(np.zeros(mask.shape), mask, SPACING)
    assert np.exp(measured["log_surface"]) == pytest.approx(2 * (a * b + b * c + a * c))


def test_a_measurement_depends_on_the_nodule_not_on_the_crop() -> None:
    ct, mask = nodule(2)
    inside = np.zeros_like(mask)
    inside[2:-2, 2:-2, 2:-2] = mask[2:-2, 2:-2, 2:-2]
    wide, grown = np.pad(ct, 6, mode="reflect"), np.pad(inside, 6)
    assert measure(wide, grown, SPACING) == pytest.approx(measure(ct, inside, SPACING))


def test_an_empty_mask_has_no_measurements() -> None:
    measured = measure(np.zeros((4, 4, 4)), np.zeros((4, 4, 4), dtype=bool), SPACING)
    assert tuple(measured) == MEASUREMENTS
    assert np.isnan(list(measured.values())).all()


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        measure(np.zeros((4, 4, 4)), np.zeros((4, 4, 3), dtype=bool), SPACING)


def painted_ball(shape: tuple[int, int, int], center: np.ndarray, diameter: float) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return np.linalg.norm((index - center) * SPACING, axis=-1) <= diameter / 2


SIZES = ("log_volume", "log_surface")


def test_a_ball_is_measured_like_its_mask_with_its_own_size() -> None:
    shape, center = (60, 60, 40), np.array([30.2, 29.7, 20.1])
    ct = np.random.default_rng(0).normal(-300, 400, shape)
    measured, masked = measure_ball(ct, SPACING, center, 24.0), measure(ct, painted_ball(shape, center, 24.0), SPACING)
    assert [measured[name] for name in MEASUREMENTS[2:]] == pytest.approx([masked[name] for name in MEASUREMENTS[2:]])
    assert np.exp(measured["log_volume"]) == pytest.approx(np.pi / 6 * 24**3)
    assert [measured[name] for name in SIZES] == pytest.approx([masked[name] for name in SIZES], abs=0.02)


@pytest.mark.parametrize("place", [9.5, 9.75, 10.0])
def test_the_size_of_a_ball_does_not_follow_its_place_between_thick_slices(place: float) -> None:
    ct, spacing = np.zeros((40, 40, 20)), np.array([0.7, 0.7, 5.0])
    measured = measure_ball(ct, spacing, np.array([20.0, 20.0, place]), 4.0)
    assert np.exp(measured["log_volume"]) == pytest.approx(np.pi / 6 * 4**3)


def test_a_ball_has_at_least_a_voxel() -> None:
    measured = measure_ball(np.arange(729.0).reshape(9, 9, 9), SPACING, np.full(3, 4.4), 0.01)
    assert (measured["hu_mean"], measured["hu_std"]) == (4 * 81 + 4 * 9 + 4, 0)


def test_where_the_ct_ends_within_a_ball_is_no_border() -> None:
    shape, center, cut = (60, 60, 40), np.array([30.2, 29.7, 20.1]), (slice(24, 41), slice(20, 60), slice(12, 24))
    ct = np.random.default_rng(0).normal(-300, 400, shape)
    inside = painted_ball(shape, center, 24.0)
    whole, measured = measure_ball(ct, SPACING, center, 24.0), measure_ball(ct[cut], SPACING, center - (24, 20, 12), 24)
    assert [measured[name] for name in SIZES] == [whole[name] for name in SIZES]
    assert measured["hu_mean"] == pytest.approx(ct[cut][inside[cut]].mean())
    outer = ndimage.binary_dilation(inside) & ~inside
    border = outer | (inside & ~ndimage.binary_erosion(inside))
    gradient = np.gradient(np.clip(ct[cut], -1000, 400), *SPACING)
    length = np.sqrt(np.sum(np.square(gradient), axis=0))
    assert measured["surroundings"] == pytest.approx(ct[cut][outer[cut]].mean(), abs=5)
    assert measured["edge"] == pytest.approx(length[border[cut]].mean(), rel=0.02)


def test_a_large_ball_of_tiny_voxels_takes_no_memory() -> None:
    measured = measure_ball(np.full((20, 20, 20), -700.0), np.full(3, 0.05), np.full(3, 9.5), 200.0)
    assert measured["hu_mean"] == -700


def test_a_ct_within_the_ball_has_finite_measurements() -> None:
    measured = measure_ball(np.random.default_rng(0).normal(size=(5, 5, 5)), SPACING, np.full(3, 2.0), 30.0)
    assert np.isfinite(list(measured.values())).all()
