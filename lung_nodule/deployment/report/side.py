"""The side of the chest on which a nodule lies."""

from __future__ import annotations

import numpy as np
from lung_nodule.io import Volume
from lung_nodule.lidc import AIR_BELOW_HU
from scipy.ndimage import binary_fill_holes, binary_opening
from skimage.measure import label

MARGIN_MM = 20.0
"""Minimum distance of a nodule from both midlines to be called left or right."""
_LEAST_WIDTH_MM = 220.0
_TABLE_MM = 6.0


def side_of(ct: Volume, center: np.ndarray) -> str:
    """Determine ``left`` or ``right`` from two estimates of the body's midline in the nodule's axial slice.

    The midlines are the centroid of the body's outline and the middle between the outermost air of both lungs.

    Args:
        ct: canonical CT in HU (x to the patient's left).
        center: ``[3]`` fractional voxel index of the nodule.

    Returns:
        ``left`` or ``right``; "" if the nodule is near a midline, the estimates disagree, or the slice shows too little
        of the chest.
    """
    z = int(np.clip(np.rint(center[2]), 0, ct.shape[2] - 1))
    hu, spacing = np.asarray(ct.data[:, :, z]), ct.spacing[:2]
    body = _body(hu, spacing)
    columns = np.flatnonzero(body.any(axis=1))
    lung = np.flatnonzero((body & (hu < AIR_BELOW_HU)).any(axis=1))
    if not len(lung) or np.ptp(columns) * spacing[0] < _LEAST_WIDTH_MM:
        return ""
    midlines = np.array([np.nonzero(body)[0].mean(), (lung[0] + lung[-1]) / 2])
    to_left = (float(center[0]) - midlines) * spacing[0]
    if (to_left > MARGIN_MM).all():
        return "left"
    return "right" if (to_left < -MARGIN_MM).all() else ""


def _body(hu: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Largest component of the slice above -500 HU with holes filled; a prior opening removes the table."""
    width = max(1, round(_TABLE_MM / float(spacing.mean())))
    pieces = np.asarray(label(binary_opening(hu > AIR_BELOW_HU, np.ones((width, width))), connectivity=1))
    if not pieces.any():
        return np.zeros(hu.shape, dtype=bool)
    return np.asarray(binary_fill_holes(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1))
