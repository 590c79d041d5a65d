"""Outlines of a nodule's mask as SVG paths."""

from __future__ import annotations

import numpy as np
from lung_nodule.core import MASK_THRESHOLD
from skimage.measure import approximate_polygon, find_contours

_TOLERANCE_PIXELS = 0.3


def nodule_probability(probability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Probability map with all components except the nodule's limited to below the threshold.

    Args:
        probability: float32 ``[x, y, z]``.
        mask: bool of the same shape, component of the nodule.
    """
    below = np.nextafter(np.float32(MASK_THRESHOLD), np.float32(0))
    return np.where(mask, probability, np.minimum(probability, below))


def outline(plane: np.ndarray, origin: tuple[float, float], scale: tuple[float, float]) -> str:
    """SVG path of the threshold contour of a plane of probabilities; "" if there is none.

    Args:
        plane: ``[rows, columns]``.
        origin: y, x of the centre of the first row and column in the picture.
        scale: picture pixels per row and per column; negative if the picture is flipped.
    """
    lines = (line * scale + origin for line in find_contours(plane, MASK_THRESHOLD))
    return "".join(_path(approximate_polygon(line, _TOLERANCE_PIXELS)) for line in lines if len(line) > 3)


def _path(line: np.ndarray) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for y, x in line)
    return f"M{points}" + ("Z" if np.allclose(line[0], line[-1]) else "")
