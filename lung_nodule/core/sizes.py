"""Sizes of a mask: volume and diameters."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np


@dataclass(frozen=True)
class Size:
    """Size of a mask in mm and mm3; all 0 where the mask is empty.

    Attributes:
        volume_mm3: volume of the mask's voxels.
        equivalent_diameter_mm: diameter of the ball of that volume.
        axial_diameter_mm: largest diameter within one axial slice, the long axis.
        axial_short_axis_mm: longest diameter perpendicular to the long axis, in the same slice.
    """

    volume_mm3: float
    equivalent_diameter_mm: float
    axial_diameter_mm: float
    axial_short_axis_mm: float

    @property
    def mean_axis_mm(self) -> float:
        """Mean of the long and the short axis, the diameter that the Fleischner Society's guideline counts."""
        return (self.axial_diameter_mm + self.axial_short_axis_mm) / 2

    def rounded(self) -> Size:
        """To two decimals, so that every output shows the same number."""
        return Size(*(round(value, 2) for value in astuple(self)))


def size_of(mask: np.ndarray, spacing: np.ndarray) -> Size:
    """Measure a nodule's mask.

    Args:
        mask: bool ``[X, Y, Z]``; z runs along the patient.
        spacing: ``[3]`` voxel size in mm.

    Returns:
        Volume and diameters; an outline runs midway between the mask's voxels and their neighbours.
    """
    volume = mask_volume_mm3(mask, spacing)
    axes = [_axes_mm(mask[:, :, z], spacing[:2]) for z in np.flatnonzero(mask.any(axis=(0, 1)))]
    return Size(volume, equivalent_diameter_mm(volume), *max(axes, default=(0.0, 0.0)))


def mask_volume_mm3(mask: np.ndarray, spacing: np.ndarray) -> float:
    """Volume of a mask's voxels, mm3.

    Args:
        mask: bool ``[X, Y, Z]``.
        spacing: ``[3]`` voxel size in mm.
    """
    return float(np.count_nonzero(mask) * np.prod(np.asarray(spacing, dtype=np.float64)))


def equivalent_diameter_mm(volume_mm3: float) -> float:
    """Diameter of the ball of that volume, mm."""
    return float((6 * volume_mm3 / np.pi) ** (1 / 3))


def _axes_mm(mask: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
    """Long axis of a slice's outline, and its longest diameter perpendicular to it."""
    outline = _outline(mask)
    corners = _column_ends(outline) * np.asarray(spacing, dtype=np.float64)
    steps = corners[:, None] - corners[None]
    lengths = np.hypot(steps[..., 0], steps[..., 1])
    along = steps.reshape(-1, 2)[lengths.argmax()] / lengths.max()
    return float(lengths.max()), _widest(outline * np.asarray(spacing, dtype=np.float64), along, float(min(spacing)))


def _widest(outline: np.ndarray, along: np.ndarray, step_mm: float) -> float:
    """The largest extent across a direction of the points that lie within a step along it."""
    place, across = outline @ along, outline @ np.array([-along[1], along[0]])
    widest = 0.0
    for offset in (0.0, 0.5):  # so that no pair of points falls apart at a step's end
        _, step = np.unique(np.floor(place / step_mm + offset), return_inverse=True)
        low, high = np.full(step.max() + 1, np.inf), np.full(step.max() + 1, -np.inf)
        np.minimum.at(low, step.reshape(-1), across)
        np.maximum.at(high, step.reshape(-1), across)
        widest = max(widest, float((high - low).max()))
    return widest


def _column_ends(outline: np.ndarray) -> np.ndarray:
    """The first and the last point of every column: all corners of the convex hull are among them."""
    _, column = np.unique(outline[:, 0], return_inverse=True)
    column = column.reshape(-1)
    low, high = np.full(column.max() + 1, np.inf), np.full(column.max() + 1, -np.inf)
    np.minimum.at(low, column, outline[:, 1])
    np.maximum.at(high, column, outline[:, 1])
    return outline[(outline[:, 1] == low[column]) | (outline[:, 1] == high[column])]


def _outline(mask: np.ndarray) -> np.ndarray:
    """``[N, 2]`` midpoints between the pixels of a mask and their neighbours outside it."""
    padded = np.pad(mask, 1)
    points = []
    for axis in (0, 1):
        for side in (-1, 1):
            edge = np.argwhere(padded & ~np.roll(padded, -side, axis=axis)).astype(np.float64) - 1
            edge[:, axis] += side / 2
            points.append(edge)
    return np.concatenate(points)
