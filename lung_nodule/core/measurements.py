"""Measurements of a nodule from a CT and a mask: size, density and border."""

from __future__ import annotations

from collections.abc import Sequence

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
    return _measure(ct, np.asarray(mask, dtype=bool), (0, 0, 0), spacing)


def measure_ball(ct: np.ndarray, spacing: np.ndarray, center: np.ndarray, diameter: float) -> dict[str, float]:
    """:func:`measure` within the ball of a declared diameter around a nodule's centre, at least one voxel.

    Where the ball reaches beyond the CT, volume and surface are those of the whole ball, the rest is measured on the
    part that was scanned.

    Args:
        ct: ``[X, Y, Z]`` in HU.
        spacing: ``[3]`` voxel size in mm.
        center: ``[3]`` fractional voxel index, within the CT.
        diameter: diameter in mm.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.core import measure_ball
        >>> small, large = np.zeros((4, 4, 4)), np.zeros((40, 40, 40))
        >>> np.exp(measure_ball(small, np.ones(3), np.full(3, 1.5), 10.0)["log_volume"]).round()
        552.0
        >>> np.exp(measure_ball(large, np.ones(3), np.full(3, 19.5), 10.0)["log_volume"]).round()
        552.0
    """
    reach, shape = diameter / 2 / np.asarray(spacing), np.array(ct.shape)
    before = np.ceil(np.maximum(0, reach - center)).astype(int)
    after = np.ceil(np.maximum(0, reach + center - (shape - 1))).astype(int)
    return _measure(ct, _ball(shape + before + after, spacing, center + before, diameter), before, spacing)


def _measure(
    ct: np.ndarray, mask: np.ndarray, first: Sequence[int] | np.ndarray, spacing: np.ndarray
) -> dict[str, float]:
    """Measurements of a mask whose grid has the CT from index ``first`` on."""
    if not mask.any():
        return dict.fromkeys(MEASUREMENTS, float("nan"))
    spacing = np.asarray(spacing, dtype=np.float64)
    ct, mask, scanned = _around(ct, mask, first)
    inner, outer = (shell[scanned] for shell in _shells(mask))
    voxels, border = ct[mask[scanned]], inner | outer
    low, middle, high = np.percentile(voxels, [10, 50, 90])
    values = (
        np.log(mask.sum() * spacing.prod()),
        np.log(_surface(mask, spacing)),
        voxels.mean(),
        voxels.std(),
        low,
        middle,
        high,
        (voxels > CALCIFIED_HU).mean(),
        _gradient(ct, spacing)[border if border.any() else mask[scanned]].mean(),
        ct[outer].mean() if outer.any() else voxels.mean(),
    )
    return dict(zip(MEASUREMENTS, map(float, values), strict=True))


def _ball(shape: np.ndarray, spacing: np.ndarray, center: np.ndarray, diameter: float) -> np.ndarray:
    """bool ``[X, Y, Z]``."""
    axes = [(np.arange(n) - c) * s for n, c, s in zip(shape, center, spacing, strict=True)]
    squared = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2
    return squared <= max((diameter / 2) ** 2, float(squared.min()))


def _around(
    ct: np.ndarray, mask: np.ndarray, first: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[slice, ...]]:
    """CT and mask, cropped to the mask and two voxels around it, and where the cropped mask has the CT."""
    cropped_ct, cropped_mask, scanned = [], [], []
    for axis, (offset, n) in enumerate(zip(first, ct.shape, strict=True)):
        index = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        low, high = max(0, int(index[0]) - 2), int(index[-1]) + 3
        start, stop = max(low, offset), min(high, offset + n)
        cropped_mask.append(slice(low, high))
        cropped_ct.append(slice(start - offset, stop - offset))
        scanned.append(slice(start - low, stop - low))
    return np.asarray(ct[tuple(cropped_ct)], dtype=np.float64), mask[tuple(cropped_mask)], tuple(scanned)


def _shells(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mask's own voxels at its border, and those next to it."""
    padded = np.pad(mask, 1)
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
