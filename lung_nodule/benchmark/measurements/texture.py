"""Texture of a nodule: grey-level co-occurrence within the mask, over its axial slices."""

from __future__ import annotations

import numpy as np
from skimage.feature import graycomatrix, graycoprops

LEVELS, LOWEST_HU, HIGHEST_HU = 16, -1000.0, 400.0
ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")


def texture_measurements(ct: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Haralick's measures of neighbouring voxels within the mask; pooled over all slices and four directions.

    Args:
        ct: ``[X, Y, Z]`` in HU.
        mask: bool, the same grid, not empty.

    Returns:
        The measures by name; NaN if no two voxels of the mask are neighbours.
    """
    scaled = (np.clip(ct, LOWEST_HU, HIGHEST_HU) - LOWEST_HU) / (HIGHEST_HU - LOWEST_HU)
    levels = np.where(mask, 1 + np.minimum((scaled * LEVELS).astype(int), LEVELS - 1), 0).astype(np.uint8)
    slices = [levels[:, :, z] for z in np.flatnonzero(mask.any(axis=(0, 1)))]
    counts = sum(graycomatrix(image, [1], ANGLES, levels=LEVELS + 1, symmetric=True) for image in slices)
    pairs = np.asarray(counts).sum(axis=3, keepdims=True)[1:, 1:].astype(np.float64)  # level 0 is outside
    if not pairs.sum():
        return {f"texture_{name}": np.nan for name in (*PROPERTIES, "entropy")}
    pairs /= pairs.sum()
    known = pairs[pairs > 0]
    return {
        **{f"texture_{name}": float(graycoprops(pairs, name)[0, 0]) for name in PROPERTIES},
        "texture_entropy": float(-(known * np.log2(known)).sum()),
    }
