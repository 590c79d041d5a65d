"""From a method's slices to its nodule."""

from __future__ import annotations

import numpy as np

from .components import central_component
from .patch import SlicePatch

MASK_THRESHOLD = 0.5


def slice_weights(coarse: np.ndarray, patch: SlicePatch) -> np.ndarray:
    """How much each slice of the patch says about the nodule: its share of the coarse mask.

    The coarse mask is the coarse probability at 0.5, restricted to the component at the nodule's centre. Where it is
    empty the central slice alone counts. (MT-Net scores slices of the true mask, which inference does not have.)

    Args:
        coarse: ``[S, H, W]`` coarse probability.
        patch: the patch that the slices belong to.

    Returns:
        float32 ``[S]`` with sum 1.
    """
    mask = central_component(coarse >= MASK_THRESHOLD, patch.central_pixel, patch.pixel_spacing)
    area = mask.sum(axis=(1, 2)).astype(np.float32)
    if not area.any():
        area[patch.central] = 1.0
    return area / area.sum()


def nodule_score(slice_scores: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean of the slices' scores.

    Args:
        slice_scores: ``[S]`` probabilities.
        weights: ``[S]`` with sum 1, as :func:`slice_weights` gives them.

    Raises:
        ValueError: the two differ in length.
    """
    scores, weights = np.asarray(slice_scores, dtype=np.float64).ravel(), np.asarray(weights, dtype=np.float64).ravel()
    if scores.shape != weights.shape:
        raise ValueError(f"{scores.size} slice scores do not fit {weights.size} slice weights")
    return float(scores @ weights)


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
