"""The connected component at a nodule's centre."""

from __future__ import annotations

import numpy as np

MASK_THRESHOLD = 0.5
"""The probability from which a voxel belongs to the nodule."""


def cut_at_half(probability: np.ndarray, threshold: float) -> np.ndarray:
    """A map whose mask at :data:`MASK_THRESHOLD` is that of the given one at another threshold.

    Its odds are divided by those of the threshold. All that reads a map (masks, outlines, means of several networks'
    maps) then has one threshold, whatever the network's own is.

    Args:
        probability: map in 0..1, any shape.
        threshold: the network's own threshold, above 0 and below 1.

    Returns:
        float32 of the same shape, in 0..1; the map itself at 0.5.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.core import cut_at_half
        >>> cut_at_half(np.array([0.0, 0.25, 1.0], dtype=np.float32), 0.25)
        array([0. , 0.5, 1. ], dtype=float32)
    """
    if threshold == MASK_THRESHOLD:
        return probability
    inside, outside = probability * np.float32(1 - threshold), (1 - probability) * np.float32(threshold)
    return (inside / (inside + outside)).astype(np.float32)


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
