"""The adaptive square: its edge, its positions, its intensities."""

from __future__ import annotations

import numpy as np
import pytest

from lung_nodule.core import SQUARES, AdaptiveSquare, SlicePatch, window

SHAPE, SPACING, CENTER = (40, 36, 12), (0.7, 0.8, 1.25), (19.3, 17.6, 6.2)


@pytest.mark.parametrize(("diameter_mm", "edge_mm"), [(3.0, 24.0), (16.0, 24.0), (20.0, 30.0), (40.0, 60.0)])
def test_the_edge_grows_with_the_diameter_from_a_minimum(diameter_mm: float, edge_mm: float) -> None:
    assert SQUARES["adaptive"].edge_mm(diameter_mm) == edge_mm
    assert SQUARES["paper_code"].edge_mm(diameter_mm) == diameter_mm


@pytest.mark.parametrize("diameter_mm", [0.0, -4.0, float("nan"), float("inf")])
def test_a_diameter_that_is_none_is_refused(diameter_mm: float) -> None:
    with pytest.raises(ValueError, match="a positive number"):
        AdaptiveSquare().edge_mm(diameter_mm)


def patch(edge_mm: float) -> SlicePatch:
    return SlicePatch(
        shape=SHAPE, spacing=SPACING, center=CENTER, patch_mm=edge_mm, image_size=32, z_patch_mm=6.0
    )  # fmt: skip


def test_by_default_the_hu_window_decides() -> None:
    ct = np.random.default_rng(0).integers(-1200, 600, SHAPE)
    np.testing.assert_array_equal(
        AdaptiveSquare().sample(ct, patch(20.0), (-1000.0, 400.0)), patch(20.0).sample(window(ct, -1000.0, 400.0))
    )


def test_the_released_codes_way_stretches_every_slice() -> None:
    ct = np.random.default_rng(0).normal(-500, 300, SHAPE) + 100 * np.arange(12)
    ct[:, :, 6] = -800.0  # a slice without contrast
    seen = SQUARES["paper_code"].sample(ct, patch(20.0), (-1000.0, 400.0))
    flat = list(patch(20.0).slices).index(6)
    low, high = seen.min(axis=(1, 2)), seen.max(axis=(1, 2))
    assert seen[flat].max() < 1e-3
    np.testing.assert_allclose(np.delete(low, flat), 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(high, flat), 1, atol=1e-6)
