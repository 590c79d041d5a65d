"""Positions of a series' slices, and the uniform grid that an affine needs; errors name positions in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from lung_nodule.errors import InputError

SAME_POSITION_MM = 0.05
UNIFORM = 0.01  # of the spacing; uniform series of LIDC-IDRI stay below 0.0002, the others miss by 0.6 and more
ROUNDED = 0.05  # of the spacing; positions that are this near to even ones are even ones, rounded
ON_GRID = 0.02  # of the spacing; a slice this near to a grid position is copied, not interpolated
MISSING_STEPS, WIDEST_STEPS = 1.5, 2.5  # of the spacing: a slice may be missing; too wide to interpolate across
SHOWN = 8


def format_positions(positions: Iterable[float]) -> str:
    """``-12.5, -10 mm``: positions for a message, the first eight of them."""
    values = [f"{value:g}" for value in np.round(list(positions), 3)]
    more = f" ... ({len(values)} in all)" if len(values) > SHOWN else ""
    return ", ".join(values[:SHOWN]) + " mm" + more


@dataclass(frozen=True, eq=False)
class SliceGrid:
    """A uniform grid along the slice normal, and the slices that each of its positions is made from.

    Where the slices are evenly spaced already, the grid is the slices. Elsewhere most slices lie on it and are copied;
    the other positions are interpolated between their two neighbours in true position, and positions inside a gap of
    more than 2.5 spacings are not measured at all.

    Attributes:
        spacing: spacing of the grid in mm.
        positions: float [grid], mm along the normal, ascending.
        lower: int [grid], the slice at or below each grid position.
        share: float [grid], 0 <= share < 1, weight of the slice above.
        nearest: int [grid], the nearest slice; -1 where nothing was measured.
        slices: number of slices laid on the grid.
    """

    spacing: float
    positions: np.ndarray
    lower: np.ndarray
    share: np.ndarray
    nearest: np.ndarray
    slices: int

    @property
    def is_slices(self) -> bool:
        """Whether the grid is the slices themselves, evenly spaced as they are."""
        return np.array_equal(self.nearest, np.arange(self.slices))

    @property
    def measured(self) -> np.ndarray:
        """bool [grid]: False inside a gap that is too wide to interpolate across."""
        return self.nearest >= 0

    @property
    def interpolated(self) -> np.ndarray:
        """bool [grid]: True where two slices were blended."""
        return self.measured & (self.share > 0)

    @property
    def blended(self) -> np.ndarray:
        """Numbers of the slices that no grid position copies, but that act through interpolation."""
        return np.setdiff1d(self._blended, self._copied)

    @property
    def unused(self) -> np.ndarray:
        """Numbers of the slices that act on no grid position at all."""
        return np.setdiff1d(np.arange(self.slices), [*self._copied, *self._blended])

    @property
    def _copied(self) -> np.ndarray:
        return self.lower[self.measured & (self.share == 0)]

    @property
    def _blended(self) -> np.ndarray:
        return np.union1d(self.lower[self.interpolated], self.lower[self.interpolated] + 1)

    def resample(self, slice_of: Callable[[int], np.ndarray], *, empty: int) -> np.ndarray:
        """Lay slices on the grid.

        Args:
            slice_of: function from the number of a slice to int16 [row, column]; asked in ascending order, once for
                each slice needed.
            empty: value of the positions where nothing was measured.

        Returns:
            int16 [grid, row, column], linear between slices, rounded.
        """
        cached = lru_cache(maxsize=2)(slice_of)
        measured = np.flatnonzero(self.measured)
        shape = np.shape(cached(int(self.lower[measured[0]])))
        data = np.full((len(self.positions), *shape), empty, dtype=np.int16)
        for k in measured:
            low, share = int(self.lower[k]), float(self.share[k])
            image = cached(low)
            data[k] = np.rint((1 - share) * image + share * cached(low + 1)) if share > 0 else image
        return data


def slice_grid(positions: np.ndarray, *, complete: bool = False) -> SliceGrid:
    """The uniform grid of slice positions.

    Args:
        positions: float [slices], mm along the slice normal, ascending, none twice.
        complete: True where the caller knows these positions to be the whole series (LIDC-IDRI's are in the readers'
            database): a gap then belongs to the series. Otherwise a gap means that slices are missing.

    Raises:
        InputError: fewer than two slices, two at one position, or a gap in a series that is not known to be complete.
    """
    gaps = _gaps(positions)
    odd = _odd(gaps)
    if not odd.any():
        return _even(float(positions[0]), float(positions[-1] - positions[0]) / len(gaps), len(positions))
    fitted, first = np.polynomial.polynomial.polyfit(np.arange(len(positions)), positions, 1)[::-1]
    if np.abs(positions - first - fitted * np.arange(len(positions))).max() <= ROUNDED * fitted:
        return _even(float(first), float(fitted), len(positions))
    spacing = float(gaps[~odd].mean()) if not odd.all() else float(np.median(gaps))
    if not complete and (gaps > MISSING_STEPS * spacing).any():
        raise InputError(_describe_gaps(positions, gaps, spacing))
    return _regular(positions, gaps, spacing)


def _even(first: float, spacing: float, slices: int) -> SliceGrid:
    """The grid of evenly spaced slices: the slices themselves."""
    numbers = np.arange(slices)
    whole = np.zeros(slices)
    return SliceGrid(spacing, first + spacing * numbers, lower=numbers, share=whole, nearest=numbers, slices=slices)


def _gaps(positions: np.ndarray) -> np.ndarray:
    if len(positions) < 2:
        raise InputError(
            f"{len(positions)} slice(s) make no volume: at least two are needed; download the whole series"
        )
    gaps = np.diff(positions)
    if (gaps < SAME_POSITION_MM).any():
        twice = format_positions(positions[1:][gaps < SAME_POSITION_MM])
        raise InputError(f"more than one slice at {twice}: remove the duplicates from the series")
    return gaps


def _odd(gaps: np.ndarray) -> np.ndarray:
    spacing = float(np.median(gaps))
    return np.abs(gaps - spacing) > UNIFORM * spacing


def _regular(positions: np.ndarray, gaps: np.ndarray, spacing: float) -> SliceGrid:
    """The grid of the given spacing that most slices lie on, within the slices' own range."""
    steps = (positions[None, :] - positions[:, None]) / spacing
    anchor = int((np.abs(steps - np.round(steps)) < ON_GRID).sum(axis=1).argmax())
    first, last = np.ceil(steps[anchor, 0] - ON_GRID), np.floor(steps[anchor, -1] + ON_GRID)
    grid = positions[anchor] + spacing * np.arange(first, last + 1)

    lower = np.clip(np.searchsorted(positions, grid, side="right") - 1, 0, len(gaps) - 1)
    share = (grid - positions[lower]) / gaps[lower]
    away = ON_GRID * spacing / gaps[lower]
    lower, share = np.where(share > 1 - away, lower + 1, lower), np.where(share > 1 - away, 0.0, share)
    share = np.where(share < away, 0.0, share)
    widest = np.r_[gaps, 0.0][lower] > WIDEST_STEPS * spacing
    nearest = np.where(widest & (share > 0), -1, lower + (share > 0.5))
    return SliceGrid(spacing=spacing, positions=grid, lower=lower, share=share, nearest=nearest, slices=len(positions))


def _describe_gaps(positions: np.ndarray, gaps: np.ndarray, spacing: float) -> str:
    wide = np.flatnonzero(gaps > MISSING_STEPS * spacing)
    steps = gaps[wide] / spacing
    if (np.abs(steps - np.round(steps)) < 2 * UNIFORM).all():
        missing = [positions[at] + step * spacing for at in wide for step in range(1, round(float(gaps[at] / spacing)))]
        return f"missing slices at {format_positions(missing)}: download the series again"
    where = format_positions(positions[wide])
    return (
        f"slices are mostly {spacing:g} mm apart, but {gaps[wide].min():g} to {gaps[wide].max():g} mm after {where}: "
        "slices are missing there; download the series again"
    )
