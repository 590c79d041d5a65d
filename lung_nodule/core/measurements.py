"""Measurements of a nodule from a CT and a mask: size, density and border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

CALCIFIED_HU = 200.0
"""HU above which a voxel counts as calcified."""
EDGE_WINDOW = (-1000.0, 400.0)
"""HU between which the border's gradient is taken: metal and bone would outweigh everything."""

MEASUREMENTS = (
    "log_volume", "log_surface", "hu_mean", "hu_std", "hu_10", "hu_50", "hu_90", "calcified", "edge", "surroundings",
)  # fmt: skip
"""Names of the results of :func:`measure`, in its order."""
DENSITY = tuple(name for name in MEASUREMENTS if name.startswith("hu_") or name == "calcified")
"""Names of the measurements of HU alone."""


def measure(ct: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> dict[str, float]:
    """Measurements of a nodule, all of which a reader could take without a network.

    Args:
        ct: ``[X, Y, Z]`` in HU.
        mask: bool, on the same grid.
        spacing: ``[3]`` voxel size in mm.

    Returns:
        by name of :data:`MEASUREMENTS`: logarithms of the volume (mm3) and of the surface (mm2, the voxels' outer
        faces); mean, standard deviation and percentiles of HU; ``calcified``, the share of voxels above
        :data:`CALCIFIED_HU`; ``edge``, the mean gradient in HU/mm at the border; ``surroundings``, the mean HU of the
        voxels next to the mask. All NaN where the mask is empty.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.core import measure
        >>> ct = np.full((12, 12, 12), -850.0)
        >>> ct[4:8, 4:8, 4:8] = 50.0
        >>> measured = measure(ct, ct > 0, np.ones(3))
        >>> round(np.exp(measured["log_volume"])), round(np.exp(measured["log_surface"])), measured["hu_mean"]
        (64, 96, 50.0)
    """
    if ct.shape != mask.shape:
        raise ValueError(f"CT {ct.shape} and mask {mask.shape} differ in shape")
    mask, spacing = np.asarray(mask, dtype=bool), np.asarray(spacing, dtype=np.float64)
    if not mask.any():
        return dict.fromkeys(MEASUREMENTS, float("nan"))
    sizes = np.log(mask.sum() * spacing.prod()), np.log(_surface(mask, spacing))
    return _measurements(*sizes, *_around(ct, mask), spacing)


def measure_ball(ct: np.ndarray, spacing: np.ndarray, center: np.ndarray, diameter: float) -> dict[str, float]:
    """:func:`measure` within the ball of a declared diameter around a nodule's centre, at least one voxel.

    Volume and surface are the ball's own, ``pi d^3 / 6`` and ``3/2 pi d^2`` (that of the voxels' outer faces, however
    small they are): counted voxels would follow the centre's place between two slices, and the CT's faces. The rest is
    measured on the voxels of the CT; where it ends within the ball is no border.

    Args:
        ct: ``[X, Y, Z]`` in HU.
        spacing: ``[3]`` voxel size in mm.
        center: ``[3]`` fractional voxel index, within the CT.
        diameter: diameter in mm.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.core import measure_ball
        >>> small = np.zeros((4, 4, 4))
        >>> round(np.exp(measure_ball(small, np.ones(3), np.full(3, 1.5), 10.0)["log_volume"]))
        524
    """
    spacing = np.asarray(spacing, dtype=np.float64)
    sizes = np.log(np.pi / 6 * diameter**3), np.log(1.5 * np.pi * diameter**2)
    return _measurements(*sizes, *_around(ct, _ball(ct.shape, spacing, center, diameter)), spacing, beyond="edge")


def _measurements(
    log_volume: float,
    log_surface: float,
    ct: np.ndarray,
    mask: np.ndarray,
    spacing: np.ndarray,
    beyond: Literal["constant", "edge"] = "constant",
) -> dict[str, float]:
    voxels, (inner, outer) = ct[mask], _shells(mask, beyond)
    border = inner | outer
    low, middle, high = np.percentile(voxels, [10, 50, 90])
    values = (
        log_volume,
        log_surface,
        voxels.mean(),
        voxels.std(),
        low,
        middle,
        high,
        (voxels > CALCIFIED_HU).mean(),
        _gradient(ct, spacing)[border if border.any() else mask].mean(),
        ct[outer].mean() if outer.any() else voxels.mean(),
    )
    return dict(zip(MEASUREMENTS, map(float, values), strict=True))


def _ball(shape: Sequence[int], spacing: np.ndarray, center: np.ndarray, diameter: float) -> np.ndarray:
    """bool ``[X, Y, Z]``."""
    axes = [(np.arange(n) - c) * s for n, c, s in zip(shape, center, spacing, strict=True)]
    squared = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2
    return squared <= max((diameter / 2) ** 2, float(squared.min()))


def _around(ct: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CT and mask, cropped to the mask and two voxels around it."""
    marked = [np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    box = tuple(slice(max(0, int(index[0]) - 2), int(index[-1]) + 3) for index in marked)
    return np.asarray(ct[box], dtype=np.float64), mask[box]


def _shells(mask: np.ndarray, beyond: Literal["constant", "edge"]) -> tuple[np.ndarray, np.ndarray]:
    """The mask's own voxels at its border, and those next to it; beyond the faces it ends, or goes on (``edge``)."""
    padded = np.pad(mask, 1, mode=beyond)
    grown, kept = padded.copy(), padded.copy()
    for axis in range(3):
        for step in (-1, 1):
            moved = np.roll(padded, step, axis)
            grown |= moved
            kept &= moved
    inside = (slice(1, -1),) * 3
    return mask & ~kept[inside], grown[inside] & ~mask


def _surface(mask: np.ndarray, spacing: np.ndarray) -> float:
    """Area of the voxels' outer faces, mm2."""
    faces = [np.count_nonzero(np.diff(np.pad(mask, 1).astype(np.int8), axis=axis)) for axis in range(3)]
    return float((np.array(faces) * spacing.prod() / spacing).sum())


def _gradient(ct: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Length of the gradient, HU/mm."""
    clipped = np.clip(ct, *EDGE_WINDOW)
    parts = [np.gradient(clipped, step, axis=axis) for axis, step in enumerate(spacing) if ct.shape[axis] > 1]
    return np.sqrt(sum((part**2 for part in parts), start=np.zeros_like(clipped)))
