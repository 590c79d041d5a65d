"""Shape measurements of a nodule's mask, in mm."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes, mesh_surface_area, regionprops


def shape_measurements(mask: np.ndarray, spacing: np.ndarray) -> dict[str, float]:
    """Sizes, sphericity, principal axes, and the outline of the largest slice.

    Args:
        mask: bool ``[X, Y, Z]``, not empty.
        spacing: ``[3]`` voxel size in mm.
    """
    volume = float(mask.sum() * np.prod(spacing))
    surface = _surface(mask, spacing)
    points = np.argwhere(mask) * spacing
    extent = points.max(axis=0) - points.min(axis=0) + spacing
    return {
        "log_volume": float(np.log(volume)),
        "log_surface": float(np.log(surface)),
        "surface_to_volume": surface / volume,
        "sphericity_3d": float(np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / surface),
        "diameter_3d": _largest_distance(points),
        "extent_x": float(extent[0]),
        "extent_y": float(extent[1]),
        "extent_z": float(extent[2]),
        "filled_box": float(volume / np.prod(extent)),
        **_principal_axes(points, spacing),
        **_radial(points),
        **_largest_slice(mask, spacing),
    }


def _surface(mask: np.ndarray, spacing: np.ndarray) -> float:
    vertices, faces, *_ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=tuple(map(float, spacing)))
    return float(mesh_surface_area(vertices, faces))


def _largest_distance(points: np.ndarray) -> float:
    """Largest distance between two voxel centres, searched among the corners of the convex hull."""
    if len(points) < 2:
        return 0.0
    with suppress(QhullError):  # all voxels lie in one plane or line
        points = points[ConvexHull(points).vertices]
    return float(pdist(points).max())


def _principal_axes(points: np.ndarray, spacing: np.ndarray) -> dict[str, float]:
    """Four standard deviations of the voxels along each principal axis, including the extent of a voxel."""
    centred = points - points.mean(axis=0)
    moments = centred.T @ centred / len(points) + np.diag(np.asarray(spacing, dtype=float) ** 2 / 12)
    least, minor, major = 4 * np.sqrt(np.linalg.eigvalsh(moments))
    return {
        "axis_major": float(major),
        "axis_minor": float(minor),
        "axis_least": float(least),
        "elongation": float(minor / major),
        "flatness": float(least / major),
    }


def _radial(points: np.ndarray) -> dict[str, float]:
    """Coefficient of variation of the voxels' distance from the centre; 0.258 for a ball."""
    distance = np.linalg.norm(points - points.mean(axis=0), axis=1)
    return {"radial_variation": float(distance.std() / max(distance.mean(), 1e-6))}


def _largest_slice(mask: np.ndarray, spacing: np.ndarray) -> dict[str, float]:
    (region,) = regionprops(mask[:, :, mask.sum(axis=(0, 1)).argmax()].astype(np.uint8))
    perimeter = max(float(region.perimeter), 1.0)
    return {
        "slice_area": float(region.area * spacing[0] * spacing[1]),
        "slice_solidity": float(region.solidity),
        "slice_eccentricity": float(region.eccentricity),
        "slice_circularity": float(4 * np.pi * region.area / perimeter**2),
    }
