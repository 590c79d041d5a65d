"""Do the slices of a series make a regular grid? Positions in, one clear line out where they do not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .errors import InputError

SAME_POSITION_MM = 0.01
UNIFORM = 0.01  # of the spacing; uniform series of LIDC-IDRI stay below 0.0002, the others miss by 0.6 and more
SHOWN = 8


def format_positions(positions: Iterable[float]) -> str:
    """``-12.5, -10 mm``: positions for a message, the first eight of them."""
    values = [f"{value:g}" for value in np.round(list(positions), 3)]
    more = f" ... ({len(values)} in all)" if len(values) > SHOWN else ""
    return ", ".join(values[:SHOWN]) + " mm" + more


def check_uniform(positions: np.ndarray) -> float:
    """Spacing in mm of slice positions that ascend along the slice normal.

    Args:
        positions: float [slices], mm along the slice normal, ascending.

    Raises:
        InputError: fewer than two slices, two at one position, missing slices, or other unequal distances.
    """
    if len(positions) < 2:
        raise InputError(
            f"{len(positions)} slice(s) make no volume: at least two are needed; download the whole series"
        )
    gaps = np.diff(positions)
    if (gaps < SAME_POSITION_MM).any():
        twice = format_positions(positions[1:][gaps < SAME_POSITION_MM])
        raise InputError(f"more than one slice at {twice}: remove the duplicates from the series")
    spacing = float(np.median(gaps))
    odd = np.abs(gaps - spacing) > UNIFORM * spacing
    if odd.any():
        raise InputError(_describe_gaps(positions, gaps, odd, spacing))
    return float(positions[-1] - positions[0]) / len(gaps)


def _describe_gaps(positions: np.ndarray, gaps: np.ndarray, odd: np.ndarray, spacing: float) -> str:
    steps = gaps / spacing
    whole = np.abs(steps - np.round(steps)) < 2 * UNIFORM
    if whole[odd].all():
        missing = [
            positions[at] + step * spacing for at in np.flatnonzero(odd) for step in range(1, round(float(steps[at])))
        ]
        return f"missing slices at {format_positions(missing)}: download the series again"
    where = format_positions(positions[:-1][odd])
    return (
        f"slices are not evenly spaced: mostly {spacing:g} mm apart, but {gaps[odd].min():g} to {gaps[odd].max():g} mm "
        f"after {where}; resample the series to a uniform grid or leave it out"
    )
