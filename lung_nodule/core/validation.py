"""Validity checks of a volume of interest."""

from __future__ import annotations

import numpy as np

from ..lidc import AIR_BELOW_HU

SMALLEST_DIAMETER_MM, LARGEST_DIAMETER_MM = 1.0, 200.0
LARGEST_SPACING_MM = 20.0
SMALLEST_SPACING_MM = 0.05
LOWEST_HU, HIGHEST_HU = -32768.0, 32767.0
"""Range of HU in 16 bits."""
MOST_VOXELS = 2**25
MOST_VOXELS_OF_AN_EDGE = 1024


def check_voi(voi: np.ndarray, spacing: np.ndarray, center: np.ndarray) -> None:
    """Refuse a VOI that cannot be analysed.

    Args:
        voi: ``[X, Y, Z]`` in HU.
        spacing: ``[3]`` voxel size in mm.
        center: ``[3]`` centre of the nodule as a (fractional) voxel index of ``voi``.

    Raises:
        ValueError: one line that says what is wrong and what is expected.
    """
    voi, spacing, center = np.asarray(voi), np.asarray(spacing, dtype=float), np.asarray(center, dtype=float)
    if voi.ndim != 3 or min(voi.shape) < 1:
        raise ValueError(f"the VOI must be a non-empty volume [x, y, z] in HU, got shape {list(voi.shape)}")
    for name, vector in (("spacing", spacing), ("center", center)):
        if vector.shape != (3,) or not np.isfinite(vector).all():
            raise ValueError(f"{name} must be three finite numbers (x, y, z), got {vector.tolist()}")
    if (spacing <= 0).any() or (spacing > LARGEST_SPACING_MM).any():
        raise ValueError(f"spacing must be positive, in mm, and at most {LARGEST_SPACING_MM}, got {spacing.tolist()}")
    if not np.isfinite(voi).all():
        bad = int(voi.size - np.isfinite(voi).sum())
        raise ValueError(f"the VOI holds {bad} voxels that are NaN or infinite; give finite HU")
    if (center < -0.5).any() or (center > np.array(voi.shape) - 0.5).any():
        raise ValueError(f"the centre {center.tolist()} (voxel index) lies outside the VOI of shape {list(voi.shape)}")


def check_diameter(diameter: float) -> None:
    """Refuse a declared diameter that cannot be a nodule's in mm, such as one in cm or m.

    Raises:
        ValueError: it is not a number from 1 to 200.
    """
    if not SMALLEST_DIAMETER_MM <= diameter <= LARGEST_DIAMETER_MM:
        raise ValueError(
            f"a diameter must be in mm, from {SMALLEST_DIAMETER_MM:g} to {LARGEST_DIAMETER_MM:g}, got {diameter:g}"
        )


def check_request(voi: np.ndarray, spacing: np.ndarray, center: np.ndarray) -> None:
    """Refuse a request that a server must not answer: a VOI that :func:`check_voi` refuses or that is not lung in HU.

    A network gives ordinary probabilities for values scaled to 0..1, for a spacing in metres or for a VOI without lung.

    Args:
        voi: ``[X, Y, Z]`` in HU, of at most ``MOST_VOXELS`` voxels and ``MOST_VOXELS_OF_AN_EDGE`` along an edge.
        spacing: ``[3]`` voxel size in mm.
        center: ``[3]`` as :func:`check_voi`.

    Raises:
        ValueError: one line that says what is wrong and what is expected.
    """
    if max(np.shape(voi), default=0) > MOST_VOXELS_OF_AN_EDGE:
        raise ValueError(
            f"the VOI has the shape {list(np.shape(voi))}, at most {MOST_VOXELS_OF_AN_EDGE} voxels are taken along an "
            "edge: cut it at the nodule"
        )
    if np.size(voi) > MOST_VOXELS:
        raise ValueError(f"the VOI holds {np.size(voi)} voxels, at most {MOST_VOXELS} are taken: cut it at the nodule")
    check_voi(voi, spacing, center)
    if (np.asarray(spacing) < SMALLEST_SPACING_MM).any():
        raise ValueError(
            f"spacing must be in mm and at least {SMALLEST_SPACING_MM}, got {np.asarray(spacing).tolist()}"
        )
    lowest, highest = float(np.min(voi)), float(np.max(voi))
    if lowest < LOWEST_HU or highest > HIGHEST_HU:
        raise ValueError(f"the VOI's values, {lowest:g} to {highest:g}, are not HU: give Hounsfield units, not scaled")
    if lowest >= AIR_BELOW_HU:
        raise ValueError(
            f"the VOI holds no voxel below {AIR_BELOW_HU:g} HU (its smallest value is {lowest:g}), so no lung: give "
            "Hounsfield units, not scaled, and some of the lung around the nodule"
        )
