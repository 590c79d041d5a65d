"""Cubic spline interpolation along one axis as a matrix."""

from __future__ import annotations

import numpy as np


def spline_matrix(positions: np.ndarray, length: int) -> np.ndarray:
    """Interpolating cubic B-spline: from an axis's samples to values at positions.

    The coefficients are ``inv(B(grid)) @ samples``, with the samples mirrored about the first and last one (no sample
    repeated; scipy's mode ``mirror``), so the slope is 0 at both ends. Beyond the axis the first and last sample are
    repeated, which continues the spline without a kink.

    Args:
        positions: ``[N]`` sampling positions as fractional indices.
        length: number of samples along the axis.

    Returns:
        float32 ``[N, length]``; rows sum to 1.
    """
    if length == 1:
        return np.ones((len(positions), 1), dtype=np.float32)
    clipped = np.clip(np.asarray(positions, dtype=float), 0, length - 1)
    coefficients = np.linalg.inv(_basis(np.arange(length, dtype=float), length))
    return (_basis(clipped, length) @ coefficients).astype(np.float32)


def _basis(positions: np.ndarray, length: int) -> np.ndarray:
    """float64 ``[N, length]``: the B-splines of a mirrored axis at positions within it."""
    matrix = np.zeros((len(positions), length))
    rows, low = np.arange(len(positions)), np.floor(positions).astype(int)
    for step in (-1, 0, 1, 2):
        distance = np.abs(positions - (low + step))
        near = 2 / 3 - distance**2 + distance**3 / 2
        far = np.clip(2 - distance, 0, None) ** 3 / 6
        np.add.at(matrix, (rows, _mirrored(low + step, length)), np.where(distance < 1, near, far))
    return matrix


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Indices beyond an axis folded back into it about its first and last sample."""
    period = 2 * (length - 1)
    folded = np.abs(index) % period
    return np.minimum(folded, period - folded)
