"""Slice positions: regular grids pass, everything else is named."""

from __future__ import annotations

import numpy as np
import pytest

from lung_nodule.io import InputError, format_positions
from lung_nodule.io.slices import check_uniform

REGULAR = np.arange(-10, 20) * 1.25


def test_regular_positions_give_their_spacing() -> None:
    assert check_uniform(REGULAR) == pytest.approx(1.25)
    noise = np.random.default_rng(0).uniform(-1e-4, 1e-4, len(REGULAR))
    assert check_uniform(REGULAR + noise) == pytest.approx(1.25, abs=1e-4)
    assert check_uniform(np.array([3.0, 4.5])) == pytest.approx(1.5)


@pytest.mark.parametrize(("gone", "named"), [([5], "-6.25 mm"), ([5, 6], "-6.25, -5 mm"), ([3, 20], "-8.75, 12.5 mm")])
def test_missing_slices_are_named(gone: list[int], named: str) -> None:
    with pytest.raises(InputError, match=f"missing slices at {named}"):
        check_uniform(np.delete(REGULAR, gone))


def test_duplicates_uneven_and_too_few() -> None:
    with pytest.raises(InputError, match="more than one slice at -5 mm"):
        check_uniform(np.sort(np.append(REGULAR, REGULAR[6])))
    shifted = REGULAR.copy()
    shifted[10:] += 0.4
    with pytest.raises(
        InputError, match=r"not evenly spaced: mostly 1\.25 mm apart, but 1\.65 to 1\.65 mm after -1\.25"
    ):
        check_uniform(shifted)
    with pytest.raises(InputError, match="1 slice"):
        check_uniform(REGULAR[:1])


def test_long_lists_are_cut_short() -> None:
    assert format_positions([1.0, 2.5]) == "1, 2.5 mm"
    assert format_positions(range(20)).endswith("7 mm ... (20 in all)")
