"""Solid, part-solid or non-solid: a rule on the HU inside a mask."""

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
"""Fewest voxels that the rule is applied to."""


@dataclass(frozen=True)
class Composition:
    """What the rule says.

    Attributes:
        name: ``solid``, ``part-solid`` or ``non-solid``.
        solid_share: share of the voxels above :data:`SOLID_HU`, 0..1.
    """

    name: str
    solid_share: float


def composition_of(hu: np.ndarray, mask: np.ndarray) -> Composition | None:
    """Call a nodule solid, part-solid or non-solid by the share of its voxels above -300 HU.

    The outermost layer of the mask (voxels with one of six neighbours outside) is left out: it holds half lung, half
    nodule, and would make every small solid nodule part-solid. No reader's judgement went into the three numbers.

    Args:
        hu: ``[x, y, z]`` in HU.
        mask: bool of the same shape.

    Returns:
        None where fewer than :data:`LEAST_VOXELS` voxels are left.
    """
    inner = hu[np.asarray(binary_erosion(mask), dtype=bool)]
    if len(inner) < LEAST_VOXELS:
        return None
    share = float((inner > SOLID_HU).mean())
    name = "solid" if share >= SOLID_SHARE else "part-solid" if share >= NON_SOLID_SHARE else "non-solid"
    return Composition(name, share)
