"""Slice positions: regular ones stay as they are, uneven ones get a grid by true position, gaps are named."""

from __future__ import annotations

import numpy as np
import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import format_positions
from lung_nodule.io.dicom.slice_grid import slice_grid

REGULAR = np.arange(-10, 20) * 1.25
# The slice positions of LIDC-IDRI's four uneven scans, thinned out: (positions, spacing of the grid).
UNEVEN = {
    "0123: three slices too many": np.r_[-2.5, -1.25, 0, 0.5, 1.25, np.arange(1.75, 20, 1.25)],
    "0267: two slices too near": np.r_[
        np.arange(-389, -378, 2.5), np.arange(-378.5, -350, 2.5), np.arange(-350.5, -20, 2.5)
    ],
    "0514: a slice 38 mm away": np.r_[-286.0, np.arange(-248, 33, 2.0)],
    "0672: three gaps of two steps": np.delete(np.arange(200) * 0.625, [19, 78, 150]),
}


def images(positions: np.ndarray) -> np.ndarray:
    """Slices [n, 1, 2] whose values are linear in position, so that interpolation must give them back."""
    return np.rint(np.c_[1000 + positions * 16, -positions * 16]).astype(np.int16)[:, None, :]


def test_regular_positions_are_their_own_grid() -> None:
    noise = np.random.default_rng(0).uniform(-1e-4, 1e-4, len(REGULAR))
    for positions in (REGULAR, REGULAR + noise, np.array([3.0, 4.5])):
        grid = slice_grid(positions)
        np.testing.assert_allclose(grid.positions, positions, atol=1e-3)
        np.testing.assert_array_equal(grid.nearest, np.arange(len(positions)))
        np.testing.assert_array_equal(grid.resample(images(positions).__getitem__, empty=0), images(positions))
        assert grid.measured.all()
        assert not grid.interpolated.any()
    assert slice_grid(REGULAR).spacing == pytest.approx(1.25)


@pytest.mark.parametrize(("spacing", "decimals"), [(0.625, 2), (0.672, 2), (1.25, 1), (2.5, 1), (0.6667, 3)])
@pytest.mark.parametrize("slices", [2, 300, 301])
def test_rounded_positions_are_even(spacing: float, decimals: int, slices: int) -> None:
    positions = np.round(-300 + spacing * np.arange(slices), decimals)
    grid = slice_grid(positions)
    assert grid.is_slices
    assert not grid.interpolated.any()
    assert grid.spacing == pytest.approx(spacing, rel=1e-3 if slices > 2 else 0.1)
    np.testing.assert_allclose(grid.positions, positions, atol=0.06)


@pytest.mark.parametrize("name", UNEVEN)
def test_uneven_positions_are_laid_on_a_grid_by_true_position(name: str) -> None:
    positions = UNEVEN[name]
    grid = slice_grid(positions, complete=True)
    gaps = np.diff(grid.positions)
    np.testing.assert_allclose(gaps, grid.spacing, rtol=1e-9)
    assert grid.spacing == pytest.approx(np.median(np.diff(positions)), rel=1e-6)
    assert positions[0] - 1e-6 <= grid.positions[0] <= positions[0] + grid.spacing
    assert positions[-1] - grid.spacing <= grid.positions[-1] <= positions[-1] + 1e-6
    data = grid.resample(images(positions).__getitem__, empty=-1024)
    np.testing.assert_allclose(data[grid.measured], images(grid.positions)[grid.measured], atol=1)
    assert (data[~grid.measured] == -1024).all()
    off = np.abs(positions[grid.nearest] - grid.positions)[grid.measured]
    assert off.max() <= 0.5 * np.diff(positions)[np.diff(positions) < 2.5 * grid.spacing].max() + 1e-6


@pytest.mark.parametrize("name", UNEVEN)
def test_most_slices_are_copied_unchanged(name: str) -> None:
    positions = UNEVEN[name]
    grid = slice_grid(positions, complete=True)
    data = grid.resample(images(positions).__getitem__, empty=-1024)
    copied = grid.measured & (grid.share == 0)
    np.testing.assert_array_equal(data[copied], images(positions)[grid.lower[copied]])
    assert copied.sum() == len(positions) - len(grid.blended) - len(grid.unused) > 0.6 * len(positions)


def test_an_unused_slice_is_distinguished_from_a_blended_one() -> None:
    left_out = slice_grid(np.array([*np.arange(0.0, 20.0, 2.0), 18.9]), complete=True)
    assert (left_out.blended.tolist(), left_out.unused.tolist()) == ([], [10])
    blended = slice_grid(np.array([*np.arange(0.0, 20.0, 2.0), 21.0, 22.0]), complete=True)
    assert (blended.blended.tolist(), blended.unused.tolist()) == ([10], [])
    asked: list[int] = []
    left_out.resample(lambda k: asked.append(k) or np.zeros((1, 1), dtype=np.int16), empty=-1024)
    assert asked == list(range(10))


def test_a_gap_of_38_mm_is_not_filled_with_inventions() -> None:
    positions = UNEVEN["0514: a slice 38 mm away"]
    grid = slice_grid(positions, complete=True)
    assert len(grid.positions) == 160
    np.testing.assert_allclose(grid.positions[~grid.measured], np.arange(-284, -249, 2.0))
    assert grid.nearest[0] == 0
    assert grid.nearest[19] == 1


def test_a_grid_may_begin_within_a_gap() -> None:
    positions = np.array([0, 3.3, 4.3, 5.3, 6.3, 7.3])
    grid = slice_grid(positions, complete=True)
    data = grid.resample(images(positions).__getitem__, empty=-1024)
    assert (data[~grid.measured] == -1024).all()
    assert not grid.measured[0]
    np.testing.assert_array_equal(data[grid.measured], images(positions)[1:])


def test_each_slice_is_asked_for_once_in_order() -> None:
    for positions in (REGULAR, *UNEVEN.values()):
        asked: list[int] = []

        def take(number: int, positions: np.ndarray = positions, asked: list[int] = asked) -> np.ndarray:
            asked.append(number)
            return images(positions)[number]

        slice_grid(positions, complete=True).resample(take, empty=0)
        assert asked == sorted(set(asked))


@pytest.mark.parametrize(("gone", "named"), [([5], "-6.25 mm"), ([5, 6], "-6.25, -5 mm"), ([3, 20], "-8.75, 12.5 mm")])
def test_missing_slices_are_named_unless_the_series_is_known_to_be_complete(gone: list[int], named: str) -> None:
    positions = np.delete(REGULAR, gone)
    with pytest.raises(InputError, match=f"missing slices at {named}"):
        slice_grid(positions)
    assert len(slice_grid(positions, complete=True).positions) == len(REGULAR)


def test_duplicates_gaps_and_too_few() -> None:
    with pytest.raises(InputError, match="more than one slice at -5 mm"):
        slice_grid(np.sort(np.append(REGULAR, REGULAR[6])))
    torn = REGULAR.copy()
    torn[10:] += 1.4
    with pytest.raises(InputError, match=r"mostly 1\.25 mm apart, but 2\.65 to 2\.65 mm after -1\.25 mm"):
        slice_grid(torn)
    with pytest.raises(InputError, match="1 slice"):
        slice_grid(REGULAR[:1])


def test_long_lists_are_cut_short() -> None:
    assert format_positions([1.0, 2.5]) == "1, 2.5 mm"
    assert format_positions(range(20)).endswith("7 mm ... (20 in all)")
