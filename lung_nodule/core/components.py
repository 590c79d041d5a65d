"""The connected component at a nodule's centre."""

from __future__ import annotations

import numpy as np

MASK_THRESHOLD = 0.5
"""The probability from which a voxel belongs to the nodule."""


def central_component(
    mask: np.ndarray, central: tuple[int, int, int], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> np.ndarray:
    """The 6-connected component of a mask that holds, or lies nearest to, a voxel.

    A patch around a nodule also shows vessels, pleura and other nodules; the nodule asked for is the one at the centre.

    Args:
        mask: bool ``[S, H, W]``.
        central: index of the centre.
        spacing: distance in mm between neighbours along each axis, by which "nearest" is measured.

    Returns:
        bool ``[S, H, W]``, empty if the mask is.
    """
    mask = np.asarray(mask, dtype=bool)
    voxels = np.argwhere(mask)
    if not len(voxels):
        return np.zeros_like(mask)
    nearest = voxels[(((voxels - np.asarray(central)) * np.asarray(spacing)) ** 2).sum(axis=1).argmin()]
    low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    component = np.zeros_like(mask)
    component[box] = _flood(mask[box], tuple(nearest - low))
    return component


def nodule_mask(probability: np.ndarray, center: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """The mask that a user gets: the probability at 0.5, restricted to the component at the nodule's centre.

    Args:
        probability: ``[X, Y, Z]`` on the VOI's grid.
        center: ``[3]`` fractional voxel index of the nodule's centre.
        spacing: ``[3]`` voxel size in mm.

    Returns:
        bool ``[X, Y, Z]``.
    """
    nearest = np.clip(np.rint(center).astype(int), 0, np.array(probability.shape) - 1)
    return central_component(probability >= MASK_THRESHOLD, tuple(nearest.tolist()), tuple(spacing))


def _flood(mask: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    """Grow a seed through a mask by filling whole runs, one axis after the other, until nothing changes."""
    filled = np.zeros_like(mask)
    filled[seed] = True
    runs = [_run_labels(np.moveaxis(mask, axis, -1)) for axis in range(mask.ndim)]
    reached, before = 1, 0
    while reached != before:
        before = reached
        for axis, labels in enumerate(runs):
            touched = np.zeros(labels.max() + 1, dtype=bool)
            touched[labels[np.moveaxis(filled, axis, -1)]] = True
            touched[0] = False
            filled = np.moveaxis(touched[labels], -1, axis)
        reached = int(filled.sum())
    return filled


def _run_labels(mask: np.ndarray) -> np.ndarray:
    """Number every unbroken run of True along the last axis: 0 outside, else 1, 2, ..."""
    starts = mask.copy()
    starts[..., 1:] &= ~mask[..., :-1]
    return np.cumsum(starts.ravel()).reshape(mask.shape) * mask
