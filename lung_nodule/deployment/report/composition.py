"""Solid, part-solid or non-solid by a rule on the HU inside a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion

SOLID_HU = -300.0
"""HU above which a voxel counts as solid."""
SOLID_SHARE = 0.8
"""Share of solid voxels from which a nodule is called solid."""
NON_SOLID_SHARE = 0.1
"""Share of solid voxels below which a nodule is called non-solid."""
LEAST_VOXELS = 10
"""Minimum number of voxels for the rule."""


@dataclass(frozen=True)
class Composition:
    """Result of the rule.

    Attributes:
        name: one of ``solid``, ``part-solid`` or ``non-solid``.
        solid_share: share of the voxels above :data:`SOLID_HU`, 0..1.
    """

    name: str
    solid_share: float


def composition_of(hu: np.ndarray, mask: np.ndarray) -> Composition | None:
    """Classify a nodule as solid, part-solid or non-solid by the share of its voxels above -300 HU.

    The outermost layer of the mask (voxels with one of six neighbours outside) is left out: partial volume with lung
    would make every small solid nodule part-solid. The three thresholds were not fitted to readers' ratings.

    Args:
        hu: ``[x, y, z]`` in HU.
        mask: bool of the same shape.

    Returns:
        The composition; None if fewer than :data:`LEAST_VOXELS` voxels are left.
    """
    inner = hu[np.asarray(binary_erosion(mask), dtype=bool)]
    if len(inner) < LEAST_VOXELS:
        return None
    share = float((inner > SOLID_HU).mean())
    name = "solid" if share >= SOLID_SHARE else "part-solid" if share >= NON_SOLID_SHARE else "non-solid"
    return Composition(name, share)
