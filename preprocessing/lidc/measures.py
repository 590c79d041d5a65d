"""Diameter and volume of one reader's contours by pylidc's definitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import pdist

from preprocessing.lidc.records import ContourRecord


def largest_diameter(contours: Sequence[ContourRecord], *, pixel_spacing_mm: float) -> float:
    """Largest in-plane distance in mm between two points of one contour; 0 if every contour is a single point."""
    spans = [pdist(contour.points).max() for contour in contours if len(contour.points) > 1]
    return float(max(spans, default=0.0) * pixel_spacing_mm)


def polygon_area(points: np.ndarray) -> float:
    """Area of the closed polygon through ``points`` [n, 2] (shoelace formula), in squared units of the points."""
    x, y = points[:, 0], points[:, 1]
    twice = x[1:] @ y[:-1] - x[:-1] @ y[1:] + x[0] * y[-1] - x[-1] * y[0]
    return float(0.5 * np.abs(twice))


def contour_volume(contours: Sequence[ContourRecord], *, pixel_spacing_mm: float, slice_thickness_mm: float) -> float:
    """Volume in mm^3: area of each contour times half the distance between its neighbouring contours in z.

    Exclusion contours are subtracted. A nodule drawn on a single slice has the slice's thickness.
    """
    positions = np.unique([contour.z for contour in contours])
    if len(positions) == 1:
        depth = {positions[0]: slice_thickness_mm}
    else:
        padded = np.r_[2 * positions[0] - positions[1], positions, 2 * positions[-1] - positions[-2]]
        depth = dict(zip(positions, 0.5 * (padded[2:] - padded[:-2]), strict=True))
    signed = ((1 if c.inclusion else -1) * polygon_area(c.points) * depth[c.z] for c in contours)
    return float(sum(signed) * pixel_spacing_mm**2)
