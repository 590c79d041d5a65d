"""Volume and equivalent diameter of a mask."""

from __future__ import annotations

import numpy as np


def mask_volume_mm3(mask: np.ndarray, spacing: np.ndarray) -> float:
    """Volume of a mask's voxels, mm3.

    Args:
        mask: bool ``[X, Y, Z]``.
        spacing: ``[3]`` voxel size in mm.
    """
    return float(np.count_nonzero(mask) * np.prod(np.asarray(spacing, dtype=np.float64)))


def equivalent_diameter_mm(volume_mm3: float) -> float:
    """Diameter of the ball of that volume, mm."""
    return float((6 * volume_mm3 / np.pi) ** (1 / 3))
