"""Cutting a VOI out of a CT and laying an answer back onto the CT's own grid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import Volume, cut_voi, paste, voi_edge_mm

SHAPE = (30, 24, 20)
SPACING = np.array([1.5, 2.0, 3.0])


def _affine(order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """Affine whose array axis i runs along world axis order[i] in direction signs[i]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign * SPACING[axis]
    affine[:3, 3] = [11.0, -7.0, 100.0]
    return affine


ORIENTATIONS = [
    (order, signs) for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0)) for signs in itertools.product((1, -1), repeat=3)
]


def _ct(order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    return Volume(np.random.default_rng(1).integers(-1000, 400, SHAPE).astype(np.int16), _affine(order, signs))


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_a_vois_voxels_stand_at_the_cts_world_positions(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    ct = _ct(order, signs)
    center = ct.to_world(np.array([9.3, 14.0, 8.6]))
    voi = cut_voi(ct.canonical(), "n", center, edge_mm=16.0)
    np.testing.assert_allclose(voi.volume.to_world(voi.center), center)
    index = np.array([1, 2, 1])
    there = np.rint(ct.to_index(voi.volume.to_world(index))).astype(int)
    assert voi.volume.data[tuple(index)] == ct.data[tuple(there)]
    assert voi.volume.data.dtype == np.float32


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_pasting_undoes_the_canonical_order_exactly(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    ct = _ct(order, signs)
    canonical = ct.canonical()
    voi = cut_voi(canonical, "n", ct.to_world(np.array([9.3, 14.0, 8.6])), edge_mm=16.0)
    pasted = paste(canonical.data[voi.box], voi.box, ct.grid)
    np.testing.assert_array_equal(pasted.affine, ct.affine)
    assert pasted.data.shape == ct.data.shape
    inside = pasted.data != 0
    np.testing.assert_array_equal(pasted.data[inside], ct.data[inside])
    assert inside.sum() == np.count_nonzero(canonical.data[voi.box])


def test_the_cut_holds_the_patch_wherever_the_ct_reaches() -> None:
    ct = _ct((0, 1, 2), (-1, -1, 1)).canonical()
    for index in ([15, 12, 10], [0, 0, 0], [29.4, 23.4, 19.4]):
        voi = cut_voi(ct, "n", ct.to_world(np.array(index, dtype=float)), edge_mm=12.0)
        for axis in range(3):
            part, half = voi.box[axis], 6.0 / SPACING[axis]
            assert part.start <= max(0, index[axis] - half)
            assert part.stop - 1 >= min(SHAPE[axis] - 1, index[axis] + half)


@pytest.mark.parametrize("index", [[-0.6, 5, 5], [5, 23.6, 5], [5, 5, 400]])
def test_a_centre_outside_is_refused_with_the_cts_reach(index: list[float]) -> None:
    ct = _ct((0, 1, 2), (-1, -1, 1)).canonical()
    with pytest.raises(InputError, match=r"^nodule n7: the centre \(.*\) mm RAS lies outside the CT \(.*\.\."):
        cut_voi(ct, "n7", ct.to_world(np.array(index, dtype=float)), edge_mm=12.0)


def test_the_edge_holds_patch_and_margin() -> None:
    assert voi_edge_mm(32.0) == 80.0
    assert voi_edge_mm(64.0) == 80.0
    assert voi_edge_mm(100.0) > 100.0


def test_a_centre_in_lps_is_recognised() -> None:
    ct = _ct((0, 1, 2), (1, 1, 1)).canonical()
    x, y, z = ct.to_world(np.array([9.0, 12.0, 10.0]))
    with pytest.raises(InputError, match=r"with x and y negated it lies inside: are these LPS coordinates"):
        cut_voi(ct, "n7", (-x, -y, z), edge_mm=12.0)
