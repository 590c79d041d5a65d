"""Signed distance fields of the painted shapes, and their smooth unions and intersections.

A field is positive inside a shape and negative outside, in mm, and close to the true distance near the surface. All
functions are elementwise and broadcast, so a field can be evaluated at points or on a grid given by its two axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Field = Any
"""A float array, or a scalar of NumPy's or Python's: all functions here take and give both."""


def superellipse(x: Field, y: Field, a: Field, b: Field, power: float = 2.0) -> Field:
    """Field of |x/a|^power + |y/b|^power = 1, first order in the distance; ``a``, ``b`` in mm."""
    px, py = np.abs(x / a), np.abs(y / b)
    u, v = px ** (power - 1), py ** (power - 1)
    q = (px * u + py * v + 1e-9) ** (1 / power)
    slope = np.sqrt((u / a) ** 2 + (v / b) ** 2) * q ** (1 - power)
    return (1 - q) / (slope + 1e-6)


def ellipsoid(x: Field, y: Field, z: Field, radii: tuple[float, float, float]) -> Field:
    """Field of an axis-aligned ellipsoid around the origin; ``radii`` in mm."""
    u, v, w = x / radii[0], y / radii[1], z / radii[2]
    q = np.sqrt(u * u + v * v + w * w + 1e-9)
    slope = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2 + (w / radii[2]) ** 2) / q
    return (1 - q) / (slope + 1e-6)


def disc(x: Field, y: Field, radius: float) -> Field:
    """Field of a circle around the origin (a cylinder along z); ``radius`` in mm."""
    return radius - np.sqrt(x * x + y * y)


def capsule(
    x: Field,
    y: Field,
    z: Field,
    start: Sequence[float] | np.ndarray,
    end: Sequence[float] | np.ndarray,
    radii: tuple[float, float],
) -> tuple[Field, Field]:
    """Field of a rod from ``start`` to ``end`` (mm) whose radius runs from radii[0] to radii[1].

    Returns:
        The field, and the position along the rod (0 at the start, 1 at the end).
    """
    axis = np.asarray(end, dtype=np.float32) - np.asarray(start, dtype=np.float32)
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / max(float(axis @ axis), 1e-6), 0, 1)
    distance = np.sqrt((dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2)
    return radii[0] + (radii[1] - radii[0]) * along - distance, along


def union(a: Field, b: Field, blend: float = 0.0) -> Field:
    """Union of two shapes; the crease is rounded over ``blend`` mm."""
    larger = np.maximum(a, b)
    if blend <= 0:
        return larger
    overlap = np.maximum(blend - np.abs(a - b), 0)
    return larger + overlap * overlap / (4 * blend)


def intersection(a: Field, b: Field, blend: float = 0.0) -> Field:
    """Intersection of two shapes; the crease is rounded over ``blend`` mm."""
    return -union(-a, -b, blend)


def coverage(field: Field, width: float) -> Field:
    """Share of a voxel inside the shape, 0..1: a ramp of ``width`` mm across the surface."""
    return np.clip(field / width + 0.5, 0, 1)


def paint(image: Field, field: Field, hu: Field, width: float = 1.6) -> None:
    """Paint a shape with ``hu`` into ``image`` (float, in place), with an edge of ``width`` mm."""
    image += (hu - image) * coverage(field, width)
