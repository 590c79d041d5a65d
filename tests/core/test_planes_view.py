"""The nine planes on analytic volumes, and their fusion."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from lung_nodule.core import PLANES, CubePatch, fused_score, fusion_weights, nine_planes

STEPS = np.arange(64) - 31.5


def offsets(view: int) -> np.ndarray:
    """``[64, 64, 3]``: where a view's pixels lie in mm from the centre, along z, x and y."""
    rows, column = PLANES[view]
    return STEPS[:, None, None] * np.eye(3)[rows] + STEPS[None, :, None] * np.array(column)


def anisotropic(function: object) -> np.ndarray:
    """The views of a VOI of 0.7 x 0.8 x 2 mm voxels that holds ``function(z, x, y)`` of mm from the centre."""
    shape, spacing, center = (130, 120, 50), (0.7, 0.8, 2.0), (66.3, 58.6, 24.2)
    x, y, z = (np.indices(shape) - np.reshape(center, (3, 1, 1, 1))) * np.reshape(spacing, (3, 1, 1, 1))
    cube = CubePatch(shape, spacing, center, patch_mm=64.0, image_size=64, order=3)
    return nine_planes(cube.sample(function(z, x, y)))


def test_every_plane_samples_the_right_positions() -> None:
    """A linear function of world position comes out exactly, in all nine views of an anisotropic VOI."""
    views = anisotropic(lambda z, x, y: 2 * z - 3 * x + 5 * y + 7)
    inner = slice(8, 56)  # the spline is flat at the faces of the VOI
    for view in range(9):
        expected = offsets(view) @ [2.0, -3.0, 5.0] + 7
        np.testing.assert_allclose(views[view][inner, inner], expected[inner, inner], atol=0.05)


def test_a_smooth_volume_is_seen_where_it_is() -> None:
    def blob(z: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.exp(-((z - 6) ** 2 + (x + 4) ** 2 + (y - 9) ** 2) / 200)

    views = anisotropic(blob)
    for view in range(9):
        np.testing.assert_allclose(views[view], blob(*np.moveaxis(offsets(view), 2, 0)), atol=0.01)


def test_equal_to_scipys_interpolation() -> None:
    cube = np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32)
    views = nine_planes(cube)
    for view in range(9):
        index = np.moveaxis(offsets(view) + 31.5, 2, 0)
        expected = ndimage.map_coordinates(cube, index, order=1)
        np.testing.assert_allclose(views[view], expected, atol=1e-5)


def test_nine_different_planes_within_the_cube() -> None:
    normals = [np.cross(np.eye(3)[rows], column) for rows, column in PLANES]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    assert max(abs(a @ b) for a, b in itertools.combinations(normals, 2)) == pytest.approx(np.sqrt(0.5))
    assert max(np.abs(offsets(view)).max() for view in range(9)) == 31.5


def test_the_face_views_are_the_mean_of_the_two_middle_slices() -> None:
    cube = np.random.default_rng(0).normal(size=(6, 6, 6)).astype(np.float32)
    views = nine_planes(cube)
    np.testing.assert_allclose(views[0], cube[2:4].mean(axis=0).T, atol=1e-6)
    np.testing.assert_allclose(views[1], cube[:, :, 2:4].mean(axis=2), atol=1e-6)
    np.testing.assert_allclose(views[2], cube[:, 2:4].mean(axis=1), atol=1e-6)


def test_what_is_no_cube_is_named() -> None:
    with pytest.raises(ValueError, match=r"need a cube .* got \[4, 4, 5\]"):
        nine_planes(np.zeros((4, 4, 5)))


def test_fusion_is_the_papers_weighted_mean() -> None:
    weights = fusion_weights([0.9, 0.6])
    np.testing.assert_allclose(weights, [0.6, 0.4])
    assert fused_score(np.array([1.0, 0.5]), weights) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="between 0 and 1"):
        fusion_weights([0.9, float("nan")])
    with pytest.raises(ValueError, match="do not fit"):
        fused_score(np.ones(3), weights)
