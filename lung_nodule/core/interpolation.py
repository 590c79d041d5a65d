"""Interpolation along one axis as a matrix: linear, cubic, and back from a patch's pixels to voxels."""

from __future__ import annotations

import numpy as np


def interpolation_matrix(positions: np.ndarray, length: int, *, outside: str = "edge") -> np.ndarray:
    """Linear interpolation along one axis as a matrix.

    Args:
        positions: ``[N]`` sampling positions as fractional indices.
        length: number of samples along the axis.
        outside: ``"edge"`` repeats the first and last sample beyond the axis; ``"zero"`` gives rows of zeros there.

    Returns:
        float32 ``[N, length]``; rows sum to 1 (or to 0 outside the axis with ``"zero"``).
    """
    clipped = np.clip(positions, 0, length - 1)
    low = np.minimum(np.floor(clipped).astype(int), max(length - 2, 0))
    high = np.minimum(low + 1, length - 1)
    fraction = clipped - low
    matrix = np.zeros((len(positions), length), dtype=np.float32)
    rows = np.arange(len(positions))
    np.add.at(matrix, (rows, low), 1 - fraction)
    np.add.at(matrix, (rows, high), fraction)
    if outside == "zero":
        matrix[(positions < -0.5) | (positions > length - 0.5)] = 0
    return matrix


def reached(matrix: np.ndarray) -> slice:
    """Range of the samples that the positions depend on; samples outside it need not be read.

    A cubic spline depends on all samples; the share of one falls to a quarter with each step away from the position,
    and is left out below 1e-7, the resolution of float32.

    Args:
        matrix: ``[N, length]``, made by :func:`interpolation_matrix` or :func:`spline_matrix`.
    """
    columns = np.flatnonzero(np.abs(matrix).max(axis=0) > 1e-7)
    return slice(int(columns[0]), int(columns[-1]) + 1)


def restoring_matrix(voxels: int, pixels: int, *, center: float, pixels_per_voxel: float) -> np.ndarray:
    """From a patch's pixels along one axis back to the VOI's voxels, averaging over each voxel's own extent.

    Args:
        voxels: number of voxels of the VOI along the axis.
        pixels: number of pixels of the patch along the axis.
        center: centre of the patch as a fractional voxel index.
        pixels_per_voxel: ratio of voxel size to pixel size.

    Returns:
        float32 ``[voxels, pixels]``; rows of voxels outside the patch are 0.
    """
    taps = max(1, int(np.ceil(pixels_per_voxel)))
    offsets = ((np.arange(taps) + 0.5) / taps - 0.5) * pixels_per_voxel
    positions = (np.arange(voxels) - center) * pixels_per_voxel + (pixels - 1) / 2
    sampled = [interpolation_matrix(positions + offset, pixels, outside="zero") for offset in offsets]
    return np.mean(sampled, axis=0, dtype=np.float32)


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
