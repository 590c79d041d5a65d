"""Measurements of a mask: volume and diameters."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from lung_nodule.core import equivalent_diameter_mm, mask_volume_mm3
from scipy.spatial.distance import pdist
from skimage.measure import find_contours


@dataclass(frozen=True)
class Measurement:
    """Size of a mask in mm and mm3; all 0 where the mask is empty."""

    volume_mm3: float
    equivalent_diameter_mm: float
    axial_diameter_mm: float

    def rounded(self) -> Measurement:
        """To two decimals, so that every output shows the same number."""
        return Measurement(*(round(value, 2) for value in astuple(self)))


def measure(mask: np.ndarray, spacing: np.ndarray) -> Measurement:
    """Measure a nodule's mask.

    Args:
        mask: bool ``[x, y, z]``; z runs along the patient.
        spacing: ``[3]`` voxel size in mm.

    Returns:
        The volume of the voxels, the diameter of the ball of that volume, and the largest diameter within one axial
        slice, from outline to outline; the outline runs midway between the mask's voxels and their neighbours.
    """
    volume = mask_volume_mm3(mask, spacing)
    axial = max((_feret_mm(mask[:, :, z], spacing[:2]) for z in np.flatnonzero(mask.any(axis=(0, 1)))), default=0.0)
    return Measurement(volume, equivalent_diameter_mm(volume), axial)


def _feret_mm(mask: np.ndarray, spacing: np.ndarray) -> float:
    outline = np.concatenate(find_contours(np.pad(mask, 1).astype(np.float32), 0.5))
    return float(pdist(outline * spacing).max())
