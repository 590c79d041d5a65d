"""Volume and diameters against bodies that are known in closed form."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from lung_nodule.deployment.measure import Measurement, measure


def _ball(radius: float, spacing: np.ndarray) -> np.ndarray:
    half = np.ceil(radius / spacing).astype(int) + 2
    grid = np.moveaxis(np.indices(2 * half + 1), 0, -1) - half
    return np.linalg.norm(grid * spacing, axis=-1) <= radius


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.6, 0.6, 2.5), (0.5, 0.8, 1.0)])
@pytest.mark.parametrize("radius", [6.0, 10.0])
def test_a_ball_has_its_volume_and_diameters(radius: float, spacing: tuple[float, float, float]) -> None:
    size = measure(_ball(radius, np.array(spacing)), np.array(spacing))
    assert size.volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.04)
    assert size.equivalent_diameter_mm == pytest.approx(2 * radius, rel=0.02)
    assert size.axial_diameter_mm == pytest.approx(2 * radius, abs=max(spacing[:2]))


def test_the_axial_diameter_ignores_the_extent_along_z() -> None:
    mask = np.zeros((20, 20, 40), dtype=bool)
    mask[8:12, 9:12, 2:38] = True
    spacing = np.array([1.0, 1.0, 1.0])
    assert measure(mask, spacing).axial_diameter_mm == pytest.approx(measure(mask[:, :, :5], spacing).axial_diameter_mm)


def test_spacing_scales_every_length() -> None:
    mask = _ball(5.0, np.ones(3))
    once, twice = measure(mask, np.ones(3)), measure(mask, np.full(3, 2.0))
    assert twice.volume_mm3 == pytest.approx(8 * once.volume_mm3)
    assert twice.equivalent_diameter_mm == pytest.approx(2 * once.equivalent_diameter_mm)
    assert twice.axial_diameter_mm == pytest.approx(2 * once.axial_diameter_mm)


def test_an_empty_mask_has_no_size() -> None:
    size = measure(np.zeros((4, 4, 4), dtype=bool), np.ones(3))
    assert (size.volume_mm3, size.equivalent_diameter_mm, size.axial_diameter_mm) == (0, 0, 0)


def test_a_rounded_size_prints_the_same_from_a_table_as_in_a_report() -> None:
    """5.9486 mm would be 5.9 in the report, and 6.0 by way of the table's 5.95."""
    size = Measurement(67.1387, 5.0449, 5.9486).rounded()
    table = Measurement(*(float(f"{value:.2f}") for value in astuple(size)))
    assert [f"{value:.1f}" for value in astuple(table)] == [f"{value:.1f}" for value in astuple(size)]
    assert table == size
