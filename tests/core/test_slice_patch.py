"""The fixed patch on analytic volumes."""

from __future__ import annotations

import numpy as np
import pytest

from lung_nodule.core import SlicePatch

SHAPE, SPACING, CENTER = (60, 50, 30), (0.7, 0.8, 1.25), (31.3, 24.6, 14.2)


def make_patch(**changes: object) -> SlicePatch:
    options = {"shape": SHAPE, "spacing": SPACING, "center": CENTER, "patch_mm": 24.0, "image_size": 48}
    return SlicePatch(**{**options, **changes})


def test_samples_the_right_positions() -> None:
    """A volume that holds its own coordinates in mm gives back the patch's coordinates in mm."""
    index = np.indices(SHAPE).astype(float)
    offsets = (np.arange(48) - 23.5) * 0.5
    for axis in (0, 1):
        sampled = make_patch().sample((index[axis] - CENTER[axis]) * SPACING[axis])
        expected = np.broadcast_to(np.expand_dims(offsets, 1 - axis), (48, 48))
        np.testing.assert_allclose(sampled[3], expected, atol=1e-4)


def test_takes_the_volumes_own_slices_within_the_z_patch() -> None:
    patch = make_patch(z_patch_mm=10.0)
    distance = np.abs(np.arange(30) - CENTER[2]) * SPACING[2]
    assert set(patch.slices) == set(np.flatnonzero(distance <= 5))
    marked = np.broadcast_to(np.arange(30.0), SHAPE)
    np.testing.assert_allclose(patch.sample(marked)[:, 20, 20], patch.slices)
    assert patch.slices[patch.central] == 14


def test_there_is_always_a_slice() -> None:
    assert len(make_patch(z_patch_mm=0.01).slices) == 1


def test_repeats_the_edge_beyond_the_volume() -> None:
    volume = np.random.default_rng(0).normal(size=SHAPE)
    sampled = make_patch(patch_mm=200.0, image_size=100).sample(volume)
    np.testing.assert_allclose(sampled[:, 0, 0], volume[0, 0], rtol=1e-5)
    np.testing.assert_allclose(sampled[:, -1, -1], volume[-1, -1], rtol=1e-5)


def test_a_tighter_crop_outside_the_patch_changes_nothing() -> None:
    volume = np.random.default_rng(1).normal(size=SHAPE)
    whole = make_patch(patch_mm=16.0, z_patch_mm=16.0)
    low = np.array([10, 8, 3])
    tight = make_patch(patch_mm=16.0, z_patch_mm=16.0, shape=(45, 38, 24), center=tuple(np.array(CENTER) - low))
    cut = volume[10:55, 8:46, 3:27]
    np.testing.assert_allclose(tight.sample(cut), whole.sample(volume), atol=1e-4)


@pytest.mark.parametrize("image_size", [16, 48, 224])
def test_restores_a_linear_map_exactly_and_zero_outside(image_size: int) -> None:
    """Finer, equal and coarser pixels than voxels: what is linear comes back as it was."""
    x, y, _ = np.indices(SHAPE).astype(float)
    volume = 3 + 0.2 * x - 0.1 * y
    patch = make_patch(image_size=image_size)
    restored = patch.restore(patch.sample(volume))
    inner = np.zeros(SHAPE, dtype=bool)
    inner[20:42, 14:35, patch.slices] = True
    np.testing.assert_allclose(restored[inner], volume[inner], atol=1e-3)
    outside = np.abs((x - CENTER[0]) * SPACING[0]) > 12 + 2 * SPACING[0]
    assert not restored[outside].any()
    assert not np.delete(restored, patch.slices, axis=2).any()


def test_a_mask_survives_the_round_trip() -> None:
    grid = np.stack(np.indices(SHAPE), axis=-1)
    mask = np.linalg.norm((grid - CENTER) * SPACING, axis=-1) <= 8
    patch = make_patch(patch_mm=32.0, image_size=112)
    back = patch.restore(patch.sample(mask) >= 0.5) >= 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.99


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"volume's shape \(3, 3, 3\)"):
        make_patch().sample(np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="maps' shape"):
        make_patch().restore(np.zeros((1, 48, 48)))
