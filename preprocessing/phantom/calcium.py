"""The six patterns of calcification in LIDC's ratings."""

from __future__ import annotations

import numpy as np

from preprocessing.phantom.distance_fields import Field, coverage

POPCORN, LAMINATED, SOLID, OFF_CENTRE, CENTRAL = 1, 2, 3, 4, 5


def calcium(
    kind: int, depth: Field, axes: tuple[Field, Field, Field], radius: float, rng: np.random.Generator
) -> Field:
    """HU that a pattern of calcification adds to a nodule.

    Args:
        kind: the reader's rating, 1-6; 6 is absent.
        depth: 0 at the nodule's surface to 1 at its deepest voxel.
        axes: x, y, z in mm from the nodule's centre, broadcasting to ``depth``.
        radius: radius of the nodule in mm.
        rng: random generator for the positions of popcorn grains.
    """
    within = coverage(depth - 0.1, 0.1)
    least = 0.6 * float(np.diff(axes[2].ravel()).mean()) if axes[2].size > 1 else 0.0  # no grain falls between slices
    if kind == SOLID:
        return 620 * coverage(depth - 0.12, 0.2)
    if kind == CENTRAL:
        return 600 * coverage(depth - 0.5, 0.2)
    if kind == LAMINATED:
        return 520 * within * (0.5 + 0.5 * np.cos(4 * np.pi * depth))
    if kind == OFF_CENTRE:
        return 560 * within * _ball(axes, radius * np.array([0.4, 0.25, 0.0]), max(0.3 * radius, least))
    if kind == POPCORN:
        places = rng.uniform(-0.5, 0.5, (6, 3)) * radius
        return 560 * within * np.max([_ball(axes, place, max(0.2 * radius + 0.5, least)) for place in places], axis=0)
    return np.zeros_like(depth)


def _ball(axes: tuple[Field, Field, Field], center: np.ndarray, radius: float) -> Field:
    x, y, z = (axis - np.float32(at) for axis, at in zip(axes, center, strict=True))
    return coverage(radius - np.sqrt(x * x + y * y + z * z), 1.0)
