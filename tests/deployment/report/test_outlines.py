"""Outlines: few points, near to the contour."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import find_contours

from lung_nodule.deployment.report.outlines import outline, simplified


def _distance(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distance of points [n, 2] to the nearest edge of a polygon [m, 2]."""
    start, step = polygon[:-1], np.diff(polygon, axis=0)
    length = np.maximum((step**2).sum(axis=1), 1e-12)
    along = np.clip(((points[:, None] - start) * step).sum(axis=2) / length, 0, 1)
    return np.linalg.norm(points[:, None] - (start + along[..., None] * step), axis=2).min(axis=1)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("scale", [1.5, 6.3])
def test_a_simplified_contour_is_the_contour_with_fewer_points(scale: float, binary: bool) -> None:
    noise, points = np.random.default_rng(1), {"before": 0, "after": 0}
    for _ in range(10):
        blobs = gaussian_filter(noise.normal(size=(60, 60)), 4)
        plane = blobs > 0 if binary else blobs
        for line in find_contours(plane.astype(float), 0.5 if binary else 0.0):
            found = simplified(line * scale)
            np.testing.assert_allclose(found[[0, -1]], (line * scale)[[0, -1]])
            assert _distance(line * scale, found).max() <= 0.3
            assert len(found) <= len(line)
            points["before"] += len(line)
            points["after"] += len(found)
    assert points["after"] < 0.8 * points["before"]


def test_a_disc_is_one_closed_path() -> None:
    rows, columns = np.mgrid[:21, :21]
    disc = (np.hypot(rows - 10, columns - 10) < 7).astype(np.float32)
    path = outline(disc, origin=(0.0, 0.0), scale=(4.0, 4.0))
    assert path.count("M") == path.count("Z") == 1
    points = np.array([[float(number) for number in point.split(",")] for point in path.strip("MZ").split()])
    np.testing.assert_allclose(np.hypot(*(points - 40).T), 28, atol=4)
    assert outline(np.zeros((5, 5), np.float32), (0.0, 0.0), (1.0, 1.0)) == ""
