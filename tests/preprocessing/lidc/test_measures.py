"""Diameter and volume of contours with known results."""

from __future__ import annotations

import numpy as np
import pytest

from preprocessing.lidc.measures import contour_volume, largest_diameter, polygon_area
from preprocessing.lidc.records import ContourRecord

SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], dtype=float)


def contour(z: float, points: np.ndarray = SQUARE, inclusion: bool = True) -> ContourRecord:
    return ContourRecord(z=z, inclusion=inclusion, points=points)


def test_area_does_not_depend_on_start_or_direction() -> None:
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    circle = 7 * np.c_[np.cos(angles), np.sin(angles)] + [3, -2]
    assert polygon_area(circle) == pytest.approx(np.pi * 49, rel=1e-4)
    assert polygon_area(np.roll(circle, 123, axis=0)) == pytest.approx(polygon_area(circle[::-1]))


def test_volume_is_area_times_depth() -> None:
    block = [contour(z) for z in (0.0, 2.5, 5.0)]
    assert contour_volume(block, pixel_spacing_mm=0.5, slice_thickness_mm=9.0) == pytest.approx(100 * 0.25 * 7.5)
    with_hole = [*block, contour(2.5, SQUARE / 2, inclusion=False)]
    expected = (3 * 100 - 25) * 0.25 * 2.5
    assert contour_volume(with_hole, pixel_spacing_mm=0.5, slice_thickness_mm=9.0) == pytest.approx(expected)


def test_a_single_slice_is_as_thick_as_declared_even_with_two_contours() -> None:
    two = [contour(1.0), contour(1.0, SQUARE + 20)]
    assert contour_volume(two[:1], pixel_spacing_mm=1.0, slice_thickness_mm=3.0) == pytest.approx(300)
    assert contour_volume(two, pixel_spacing_mm=1.0, slice_thickness_mm=3.0) == pytest.approx(600)


def test_diameter_is_taken_within_one_contour_and_ignores_single_points() -> None:
    far = [contour(0.0), contour(2.5, np.array([[100.0, 100.0]]))]
    assert largest_diameter(far, pixel_spacing_mm=0.5) == pytest.approx(np.hypot(10, 10) / 2)
    assert largest_diameter(far[1:], pixel_spacing_mm=0.5) == 0
