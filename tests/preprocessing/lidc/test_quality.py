"""Quality flags of annotations with known results."""

from __future__ import annotations

import numpy as np
import pytest

from lung_nodule.lidc import CHARACTERISTICS
from preprocessing.lidc import database
from preprocessing.lidc.quality import (
    FLAGS,
    annotation_flags,
    has_two_scans,
    nodule_flags,
    non_uniform_z,
    rating_off_scale,
    self_overlap,
)
from preprocessing.lidc.records import AnnotationRecord, ContourRecord, NoduleRecord, ScanRecord

RING = [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3), (2, 3), (1, 3), (0, 3), (0, 2), (0, 1)]
SPUR = [(0, 0), (1, 0), (2, 0), (1, 0), (1, 1), (0, 1)]
LINE = [(0, 0), (1, 0), (2, 0), (1, 0)]
CROSSING = [(0, 0), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1)]
CROSSING_BETWEEN_PIXELS = [(0, 0), (1, 1), (2, 1), (2, 0), (1, 0), (0, 1)]


def contour(points: list[tuple[int, int]], z: float = 0.0, inclusion: bool = True, shift: int = 0) -> ContourRecord:
    closed = np.array([*points, points[0]], dtype=float) + shift
    return ContourRecord(z=z, inclusion=inclusion, points=closed)


def annotation(*contours: ContourRecord) -> AnnotationRecord:
    ratings = dict.fromkeys(CHARACTERISTICS, 3)
    return AnnotationRecord(
        annotation_id=1, ratings=ratings, contours=contours, diameter_mm=1.0, contour_volume_mm3=1.0
    )


def scale(points: list[tuple[int, int]], factor: int) -> list[tuple[int, int]]:
    return [(factor * x, factor * y) for x, y in points]


@pytest.mark.parametrize("points", [SPUR, LINE, CROSSING, CROSSING_BETWEEN_PIXELS])
def test_an_outline_that_meets_itself(points: list[tuple[int, int]]) -> None:
    assert self_overlap(annotation(contour(points)))
    assert not self_overlap(annotation(contour(points, inclusion=False), contour(RING)))


def test_a_plain_outline_does_not_whether_closed_or_open_or_a_point() -> None:
    assert not self_overlap(annotation(contour(RING)))
    assert not self_overlap(annotation(ContourRecord(z=0.0, inclusion=True, points=np.array(RING, dtype=float))))
    assert not self_overlap(annotation(ContourRecord(z=0.0, inclusion=True, points=np.zeros((1, 2)))))


def test_two_outlines_on_a_slice() -> None:
    assert not self_overlap(annotation(contour(RING), contour(RING, shift=10)))
    assert not self_overlap(annotation(contour(RING), contour(RING, z=1.0)))
    assert self_overlap(annotation(contour(RING), contour(RING, shift=2)))
    nested = contour(scale(RING, 4)), contour(RING, shift=5)
    assert self_overlap(annotation(*nested))
    assert self_overlap(annotation(*nested[::-1]))


def scan_of(positions: list[float], patient: str = "LIDC-IDRI-0006") -> ScanRecord:
    z = np.array(positions)
    return ScanRecord(patient, "1.2", "1.3", 1.0, 1.0, 0.7, z, key=1, index=0)


def test_uneven_slices() -> None:
    assert not non_uniform_z(scan_of([0.0, 1.0, 2.0001, 3.0]))
    assert non_uniform_z(scan_of([0.0, 1.0, 2.6, 3.6]))
    uneven = {scan.patient_id[-4:] for scan in database.scans() if non_uniform_z(scan)}
    assert uneven == {"0123", "0267", "0514", "0672"}


def test_a_rating_beyond_its_scale() -> None:
    assert not rating_off_scale(annotation(contour(RING)))
    for name, rating, off in (("internal_structure", 5, True), ("calcification", 6, False), ("texture", 0, True)):
        mark = annotation(contour(RING))
        mark.ratings[name] = rating
        assert rating_off_scale(mark) is off
    (scan,) = database.scans(["LIDC-IDRI-0510"])
    marks = [mark for nodule in database.nodules(scan) for mark in nodule.annotations]
    assert [mark.ratings["internal_structure"] for mark in marks if rating_off_scale(mark)] == [5]


def test_two_scans() -> None:
    assert sum(map(has_two_scans, database.scans())) == 16
    assert has_two_scans(scan_of([0.0, 1.0], "LIDC-IDRI-0132"))


def test_flags_of_a_nodule_and_of_its_marks() -> None:
    plain, holed = annotation(contour(RING)), annotation(contour(RING), contour(RING, inclusion=False))
    nodule = NoduleRecord("LIDC-IDRI-0006_a0001", "LIDC-IDRI-0006", (plain, holed, plain, plain, plain))
    scan = scan_of([0.0, 1.0, 2.0])
    whole, parts = np.ones((3, 3, 1), dtype=bool), np.zeros((3, 3, 1), dtype=bool)
    parts[0, 0, 0] = parts[2, 2, 0] = True
    assert list(nodule_flags(nodule, scan, whole)) == list(FLAGS)
    held = {name for name, holds in nodule_flags(nodule, scan, parts).items() if holds}
    assert held == {"more_than_four_annotations", "several_components", "exclusion_contours"}
    held = {name for name, holds in annotation_flags(plain, nodule, scan, whole).items() if holds}
    assert held == {"more_than_four_annotations"}
