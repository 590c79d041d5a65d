"""Volume and diameters against bodies that are known in closed form, and against scikit-image."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from skimage.measure import find_contours

from lung_nodule.core import Size, size_of


def _ball(radius: float, spacing: np.ndarray) -> np.ndarray:
    half = np.ceil(radius / spacing).astype(int) + 2
    grid = np.moveaxis(np.indices(2 * half + 1), 0, -1) - half
    return np.linalg.norm(grid * spacing, axis=-1) <= radius


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.6, 0.6, 2.5), (0.5, 0.8, 1.0)])
@pytest.mark.parametrize("radius", [6.0, 10.0])
def test_a_ball_has_its_volume_and_diameters(radius: float, spacing: tuple[float, float, float]) -> None:
    size = size_of(_ball(radius, np.array(spacing)), np.array(spacing))
    assert size.volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.04)
    assert size.equivalent_diameter_mm == pytest.approx(2 * radius, rel=0.02)
    assert size.axial_diameter_mm == pytest.approx(2 * radius, abs=max(spacing[:2]))


def test_the_axial_diameter_ignores_the_extent_along_z() -> None:
    mask = np.zeros((20, 20, 40), dtype=bool)
    mask[8:12, 9:12, 2:38] = True
    spacing = np.array([1.0, 1.0, 1.0])
    assert size_of(mask, spacing).axial_diameter_mm == pytest.approx(size_of(mask[:, :, :5], spacing).axial_diameter_mm)


def test_spacing_scales_every_length() -> None:
    mask = _ball(5.0, np.ones(3))
    once, twice = size_of(mask, np.ones(3)), size_of(mask, np.full(3, 2.0))
    assert twice.volume_mm3 == pytest.approx(8 * once.volume_mm3)
    assert twice.equivalent_diameter_mm == pytest.approx(2 * once.equivalent_diameter_mm)
    assert twice.axial_diameter_mm == pytest.approx(2 * once.axial_diameter_mm)


def test_an_empty_mask_has_no_size() -> None:
    size = size_of(np.zeros((4, 4, 4), dtype=bool), np.ones(3))
    assert astuple(size) == (0, 0, 0, 0)


def test_a_rounded_size_prints_the_same_from_a_table_as_in_a_report() -> None:
    """5.9486 mm would be 5.9 in the report, and 6.0 by way of the table's 5.95."""
    size = Size(67.1387, 5.0449, 5.9486, 4.2512).rounded()
    table = Size(*(float(f"{value:.2f}") for value in astuple(size)))
    assert [f"{value:.1f}" for value in astuple(table)] == [f"{value:.1f}" for value in astuple(size)]
    assert table == size


def test_an_ellipse_has_its_two_axes_whichever_way_it_lies() -> None:
    rows, columns = np.indices((81, 81)) - 40
    for degrees in (0, 30, 45, 110):
        turn = np.deg2rad(degrees)
        along, across = rows * np.cos(turn) + columns * np.sin(turn), columns * np.cos(turn) - rows * np.sin(turn)
        mask = (along / 24) ** 2 + (across / 10) ** 2 <= 1
        size = size_of(mask[:, :, None], np.array([0.5, 0.5, 1.0]))
        assert (size.axial_diameter_mm, size.axial_short_axis_mm) == pytest.approx((24, 10), abs=0.7)
        assert size.mean_axis_mm == pytest.approx(17, abs=0.7)


@pytest.mark.parametrize(("long", "short"), [(48, 24), (60, 20)])
def test_the_short_axis_is_a_diameter_not_the_whole_extent(long: int, short: int) -> None:
    """Of a rectangle: perpendicular to its diagonal, through the shorter side. Its extent there is twice as much."""
    mask = np.zeros((70, 70, 1), dtype=bool)
    mask[5 : 5 + long, 5 : 5 + short] = True
    size = size_of(mask, np.array([0.5, 0.5, 1.0]))
    diagonal = np.hypot(long, short) / 2
    assert size.axial_diameter_mm == pytest.approx(diagonal, abs=0.8)
    assert size.axial_short_axis_mm == pytest.approx(short / long * diagonal, abs=1.2)


def test_the_short_axis_of_a_mask_with_a_spike_is_that_beside_it() -> None:
    """An extent across the whole mask would take spikes on both sides, at different places, for a width."""
    mask = np.zeros((60, 60, 1), dtype=bool)
    mask[5:55, 28:34] = True
    mask[12:14, 34:46], mask[46:48, 16:28] = True, True
    size = size_of(mask, np.ones(3))
    assert size.axial_diameter_mm == pytest.approx(50, abs=2)
    assert size.axial_short_axis_mm == pytest.approx(18, abs=2)


@pytest.mark.parametrize("seed", range(5))
def test_the_long_axis_is_that_of_the_contours_that_scikit_image_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask, spacing = rng.random((9, 12, 3)) < 0.2, np.array([0.6, 0.8, 2.0])
    wanted = 0.0
    for z in range(mask.shape[2]):
        outline = np.concatenate(find_contours(np.pad(mask[:, :, z], 1).astype(float), 0.5))
        wanted = max(wanted, pdist(outline * spacing[:2]).max())
    assert size_of(mask, spacing).axial_diameter_mm == pytest.approx(wanted, abs=1e-9)


def test_a_slice_of_noise_is_measured_in_little_memory() -> None:
    """Of its some 65,000 outline points, all pairs would take 64 GiB."""
    mask = np.random.default_rng(0).random((256, 256, 1)) > 0.5
    corners = np.argwhere(mask[:, :, 0])
    size = size_of(mask, np.ones(3))
    assert size.axial_diameter_mm == pytest.approx(pdist(corners[[0, -1]])[0], abs=5)
    assert size.volume_mm3 == mask.sum()
