"""HU measurements inside a nodule's mask, at its border and around it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.stats import kurtosis, skew

CALCIFIED_HU, SOLID_HU = 200.0, -300.0
PERCENTILES = (5, 10, 25, 50, 75, 90, 95)
SHELLS_MM = {"core": (-99.0, -3.0), "inner": (-3.0, -1.5), "rim": (-1.5, 0.0), "outer": (0.0, 1.5), "near": (1.5, 4.0)}
"""Range of distances from the border in mm, negative inside."""
BINS_HU = np.arange(-1000, 1026, 25)
SMOOTHING_MM = 0.7


def histogram_measurements(hu: np.ndarray) -> dict[str, float]:
    """Moments, percentiles, entropy and shares of the HU of a nodule's voxels.

    Args:
        hu: ``[N]``, at least one voxel.
    """
    hu = hu.astype(np.float64)
    varied = hu.std() > 1e-6
    shares = np.histogram(np.clip(hu, BINS_HU[0], BINS_HU[-1] - 1), bins=BINS_HU)[0] / len(hu)
    return {
        "hu_mean": float(hu.mean()),
        "hu_std": float(hu.std()),
        **{f"hu_{percent}": float(np.percentile(hu, percent)) for percent in PERCENTILES},
        "hu_max": float(hu.max()),
        "hu_skewness": float(skew(hu)) if varied else 0.0,
        "hu_kurtosis": float(kurtosis(hu)) if varied else 0.0,
        "hu_entropy": float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum()),
        "calcified": float((hu > CALCIFIED_HU).mean()),
        "ground_glass": float((hu < SOLID_HU).mean()),
    }


def margin_measurements(ct: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> dict[str, float]:
    """Radial profile across the border, edge sharpness and density of the surroundings.

    Args:
        ct: ``[X, Y, Z]`` in HU.
        mask: bool, the same grid, not empty.
        spacing: ``[3]`` voxel size in mm.

    Returns:
        The measurements by name; NaN for a shell without voxels, such as the core of a small nodule or the
        surroundings in a tight crop.
    """
    ct = np.clip(ct, -1000, 1000).astype(np.float32)
    outside = np.zeros(mask.shape) if mask.all() else border_distance(~mask, spacing)
    distance = outside - border_distance(np.pad(mask, 1), spacing)[1:-1, 1:-1, 1:-1]
    gradient = _gradient(ct, spacing)
    border = (np.abs(distance) <= 1.0) | (mask & (distance >= -float(max(spacing))))
    profile = {name: _mean(ct[(distance > low) & (distance <= high)]) for name, (low, high) in SHELLS_MM.items()}
    near = ct[(distance > 1.5) & (distance <= 4.0)]
    return {
        **{f"shell_{name}": value for name, value in profile.items()},
        "edge": profile["rim"] - profile["outer"],
        "gradient_mean": _mean(gradient[border]),
        "gradient_std": float(gradient[border].std()) if border.any() else np.nan,
        "surroundings_dense": _mean((near > SOLID_HU).astype(float)),
    }


def _gradient(ct: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Length of the gradient in HU/mm, of the image smoothed by 0.7 mm."""
    smooth = gaussian_filter(ct, sigma=tuple(SMOOTHING_MM / np.asarray(spacing, dtype=float)))
    parts = [np.gradient(smooth, float(step), axis=axis) for axis, step in enumerate(spacing) if ct.shape[axis] > 1]
    return np.sqrt(sum((part**2 for part in parts), start=np.zeros_like(smooth)))


def border_distance(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """``[X, Y, Z]`` distance in mm of every voxel of a mask from the nearest voxel outside of it; 0 outside."""
    return np.asarray(distance_transform_edt(mask, sampling=np.asarray(spacing, dtype=float)))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan
