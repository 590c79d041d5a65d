"""Outlines of a nodule's mask as SVG paths."""

from __future__ import annotations

import numpy as np
from lung_nodule.core import MASK_THRESHOLD
from matplotlib.path import Path
from skimage.measure import find_contours

_SIMPLIFY_PIXELS = 0.15
"""Threshold of matplotlib's simplification; the result is within twice this distance of the contour."""


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
    return "".join(_path(simplified(line)) for line in lines if len(line) > 3)


def simplified(line: np.ndarray) -> np.ndarray:
    """A polygon ``[points, 2]`` without points that lie nearly on the line between their neighbours."""
    path = Path(line)
    path.should_simplify, path.simplify_threshold = True, _SIMPLIFY_PIXELS
    points = np.asarray(path.cleaned(simplify=True).vertices)[:-1]  # without the end marker
    return points[np.r_[True, np.any(np.diff(points, axis=0) != 0, axis=1)]]


def _path(line: np.ndarray) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for y, x in line)
    return f"M{points}" + ("Z" if np.allclose(line[0], line[-1]) else "")
