"""World and index agree; canonical order moves no voxel in the world."""

from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest

from lung_nodule.io import Volume

SIGNS_AND_ORDERS = [
    (signs, order) for signs in itertools.product((1, -1), repeat=3) for order in itertools.permutations(range(3))
]


def oblique_affine() -> np.ndarray:
    """A rotation by 0.2 about z, unequal spacing, an offset."""
    turn = np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.7, -0.8, 2.5])
    affine[:3, 3] = [12.0, -34.0, 56.0]
    return affine


def numbered_volume(affine: np.ndarray) -> Volume:
    return Volume(np.arange(4 * 5 * 6).reshape(4, 5, 6), affine)


def test_index_and_world_are_inverse() -> None:
    volume = numbered_volume(oblique_affine())
    indices = np.random.default_rng(0).uniform(-3, 9, size=(7, 2, 3))
    np.testing.assert_allclose(volume.to_index(volume.to_world(indices)), indices, atol=1e-9)
    np.testing.assert_allclose(volume.to_world(np.zeros(3)), [12.0, -34.0, 56.0])
    np.testing.assert_allclose(volume.spacing, [0.7, 0.8, 2.5])


@pytest.mark.parametrize(("signs", "order"), SIGNS_AND_ORDERS)
def test_canonical_is_lps_and_keeps_every_voxel_in_its_place(signs: tuple[int, ...], order: tuple[int, ...]) -> None:
    affine = oblique_affine()
    affine[:3, :3] = (affine[:3, :3] * signs)[:, order]
    volume = numbered_volume(affine)
    canonical = volume.canonical()
    assert nibabel.aff2axcodes(canonical.affine) == ("L", "P", "S")
    assert sorted(canonical.shape) == sorted(volume.shape)
    for value in (0, 17, 63, 119):
        before, after = (np.argwhere(item.data == value)[0] for item in (volume, canonical))
        np.testing.assert_allclose(volume.to_world(before), canonical.to_world(after), atol=1e-9)


def test_canonical_of_canonical_changes_nothing_and_keeps_further_axes() -> None:
    data = np.arange(3 * 4 * 5 * 2).reshape(3, 4, 5, 2)
    once = Volume(data, np.diag([1.0, 1.0, 2.0, 1.0])).canonical()
    twice = once.canonical()
    assert once.data.shape == (3, 4, 5, 2)
    np.testing.assert_array_equal(once.data, twice.data)
    np.testing.assert_array_equal(once.affine, twice.affine)
    np.testing.assert_array_equal(once.data, data[::-1, ::-1])


def test_a_crop_keeps_world_positions() -> None:
    volume = numbered_volume(oblique_affine())
    part = volume.crop((slice(1, 3), slice(2, 5), slice(3, 4)))
    assert part.shape == (2, 3, 1)
    np.testing.assert_allclose(part.to_world(np.zeros(3)), volume.to_world(np.array([1, 2, 3])))
    assert part.data[0, 0, 0] == volume.data[1, 2, 3]


@pytest.mark.parametrize("affine", [np.eye(3), np.full((4, 4), np.nan), np.zeros((4, 4))])
def test_an_affine_that_places_nothing_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(ValueError, match="affine"):
        Volume(np.zeros((2, 2, 2)), affine)
