"""The isotropic cube on analytic volumes, and the cubic spline against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lung_nodule.core import CubePatch
from lung_nodule.core.cube_patch import MATRICES
from lung_nodule.core.interpolation import spline_matrix

SHAPE, SPACING, CENTER = (60, 50, 30), (0.7, 0.8, 1.25), (31.3, 24.6, 14.2)
OFFSETS = (np.arange(24) - 11.5) * 0.75


def make_cube(**changes: object) -> CubePatch:
    options = {"shape": SHAPE, "spacing": SPACING, "center": CENTER, "patch_mm": 18.0, "image_size": 24}
    return CubePatch(**{**options, **changes})


def mm_from_center() -> np.ndarray:
    """``[3, X, Y, Z]``: how far each voxel lies from the centre along x, y and z."""
    return (np.indices(SHAPE) - np.reshape(CENTER, (3, 1, 1, 1))) * np.reshape(SPACING, (3, 1, 1, 1))


@pytest.mark.parametrize(("order", "tolerance"), [(1, 1e-4), (3, 0.02)])
@pytest.mark.parametrize(("axis", "stands"), [(0, 1), (1, 2), (2, 0)])
def test_samples_the_right_positions(axis: int, stands: int, order: int, tolerance: float) -> None:
    """A volume that holds its own x, y or z in mm gives the cube's: slices are z, then x, then y."""
    sampled = make_cube(order=order).sample(mm_from_center()[axis])
    expected = np.moveaxis(np.broadcast_to(OFFSETS, (24, 24, 24)), 2, stands)
    np.testing.assert_allclose(sampled, expected, atol=tolerance)


def test_repeats_the_edge_beyond_the_volume() -> None:
    """Padded, never stretched: a cube larger than the VOI holds the VOI's faces beyond it."""
    volume = np.random.default_rng(0).normal(size=SHAPE)
    for order in (1, 3):
        sampled = make_cube(patch_mm=120.0, image_size=120, order=order).sample(volume)
        expected = volume[0, 0, 0], volume[-1, -1, -1]
        np.testing.assert_allclose([sampled[0, 0, 0], sampled[-1, -1, -1]], expected, atol=1e-5)
        np.testing.assert_allclose(sampled[0], sampled[10], atol=1e-5)
    inner = make_cube(patch_mm=18.0, image_size=18).sample(volume)
    np.testing.assert_allclose(
        make_cube(patch_mm=120.0, image_size=120).sample(volume)[51:69, 51:69, 51:69], inner, atol=1e-5
    )


def test_a_volume_of_one_slice_is_repeated() -> None:
    volume = np.random.default_rng(0).normal(size=(60, 50, 1))
    for order in (1, 3):
        sampled = make_cube(shape=(60, 50, 1), center=(31.3, 24.6, 0.0), order=order).sample(volume)
        np.testing.assert_allclose(sampled, np.broadcast_to(sampled[:1], sampled.shape), atol=1e-6)


@pytest.mark.parametrize("length", [2, 3, 7, 40])
def test_the_cubic_spline_is_scipys(length: int) -> None:
    """Equal within the axis to scipy's order 3 with the same (mirrored) boundary."""
    samples = np.random.default_rng(length).normal(size=length)
    positions = np.linspace(0, length - 1, 101)
    expected = ndimage.map_coordinates(samples, positions[None], order=3, mode="mirror")
    np.testing.assert_allclose(spline_matrix(positions, length) @ samples, expected, atol=1e-5)


def test_the_cubic_cube_is_scipys() -> None:
    """In the interior scipy's own default boundary (``reflect``) makes no difference."""
    volume = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=SHAPE), 1.0)
    cube = make_cube(patch_mm=12.0, image_size=16, order=3)
    offsets = (np.arange(16) - 7.5) * 0.75
    z, x, y = np.meshgrid(offsets, offsets, offsets, indexing="ij")
    index = [mm / SPACING[axis] + CENTER[axis] for axis, mm in enumerate((x, y, z))]
    expected = ndimage.map_coordinates(volume, index, order=3, mode="reflect")
    np.testing.assert_allclose(cube.sample(volume), expected, atol=1e-5)


@pytest.mark.parametrize(("order", "margin"), [(1, 1), (3, 14)])
def test_only_what_the_cube_depends_on_is_read(order: int, margin: int) -> None:
    """HU of a whole scan in place of the VOI's: the same cube, to the resolution of float32."""
    scan = np.random.default_rng(3).normal(-500, 500, (150, 140, 90))
    center = (70.2, 80.7, 41.9)
    cube = make_cube(shape=scan.shape, center=center, order=order)
    far = np.array([18.0 / 2 / size + margin for size in SPACING])
    low, high = np.floor(center - far).astype(int), np.ceil(center + far).astype(int) + 1
    box = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    unread = np.full_like(scan, np.nan)
    unread[box] = scan[box]
    whole = [MATRICES[order](cube._positions(axis), scan.shape[axis]) for axis in range(3)]
    expected = np.einsum("ix,jy,kz,xyz->kij", *whole, scan, optimize=True)
    np.testing.assert_allclose(cube.sample(unread), expected, atol=2e-3)


def test_a_mask_comes_back_to_where_it_was() -> None:
    ball = np.linalg.norm(mm_from_center(), axis=0) < 7
    cube = make_cube(patch_mm=24.0, image_size=48)
    back = cube.restore((cube.sample(ball) >= 0.5).astype(np.float32)) >= 0.5
    assert 2 * (back & ball).sum() / (back.sum() + ball.sum()) > 0.97
    assert not cube.restore(np.ones((48, 48, 48)))[np.abs(mm_from_center()).max(axis=0) > 12.5].any()


def test_centre_and_spacing_of_the_samples() -> None:
    cube = make_cube(patch_mm=32.0, image_size=64)
    assert cube.pixel_spacing == (0.5, 0.5, 0.5)
    near = np.linalg.norm(mm_from_center(), axis=0) < 2
    assert cube.sample(near)[cube.central_pixel] == 1


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="is not the patch's"):
        make_cube().sample(np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="is not the patch's"):
        make_cube().restore(np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match=r"1 \(linear\) or 3"):
        make_cube(order=2)
    with pytest.raises(ValueError, match="at least 1 voxel"):
        make_cube(image_size=0)
