"""Quality flags of nodules and annotations, from the database alone."""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from typing import cast

import numpy as np
from matplotlib.path import Path as Polygon
from scipy import ndimage

from lung_nodule.lidc import HIGHEST_RATING
from preprocessing.lidc.clustering import MOST_READERS
from preprocessing.lidc.database import scans
from preprocessing.lidc.records import AnnotationRecord, NoduleRecord, ScanRecord

FLAGS = (
    "more_than_four_annotations",
    "several_components",
    "exclusion_contours",
    "self_overlap",
    "rating_off_scale",
    "non_uniform_z",
    "two_scans",
)
UNIFORM_MM = 0.05  # the database's positions are rounded to about 0.001 mm; the smallest true irregularity is 0.6 mm


def nodule_flags(nodule: NoduleRecord, scan: ScanRecord, mask: np.ndarray) -> dict[str, bool]:
    """The flags of FLAGS for a nodule.

    Args:
        nodule: nodule with all of its annotations; a property of one of them counts.
        scan: the nodule's scan.
        mask: bool [x, y, z], consensus mask of the nodule.
    """
    marks = [_mark_flags(annotation) for annotation in nodule.annotations]
    return _ordered(
        _shared_flags(nodule, scan),
        several_components=_components(mask) > 1,
        exclusion_contours=any(mark["exclusion_contours"] for mark in marks),
        self_overlap=any(mark["self_overlap"] for mark in marks),
        rating_off_scale=any(mark["rating_off_scale"] for mark in marks),
    )


def annotation_flags(
    annotation: AnnotationRecord, nodule: NoduleRecord, scan: ScanRecord, mask: np.ndarray
) -> dict[str, bool]:
    """The flags of FLAGS for one annotation: components, holes, overlap and ratings are those of its reader.

    Args:
        annotation: annotation of the nodule.
        nodule: the nodule.
        scan: the nodule's scan.
        mask: bool [x, y, z], the reader's mask.
    """
    marks = _mark_flags(annotation)
    return _ordered(_shared_flags(nodule, scan), several_components=_components(mask) > 1, **marks)


def non_uniform_z(scan: ScanRecord) -> bool:
    """Whether the slice spacing varies."""
    return bool(np.ptp(np.diff(scan.slice_positions)) > UNIFORM_MM)


def has_two_scans(scan: ScanRecord) -> bool:
    """Whether the database has a second scan of the same patient; eight patients have two."""
    return scan.patient_id in _patients_with_two_scans()


def self_overlap(annotation: AnnotationRecord) -> bool:
    """Whether the reader's inclusion outlines meet themselves or each other on a slice, or one lies inside another.

    In most cases an outline runs back over its own pixels; that part encloses nothing and is not in the mask. Only in
    annotation 5991 do two outlines enclose the same pixels, which the volume inside the contours counts twice.
    """
    rings: dict[float, list[np.ndarray]] = defaultdict(list)
    for contour in annotation.contours:
        if contour.inclusion:
            rings[contour.z].append(_ring(contour.points))
    return any(_meet(on_slice) or _nested(on_slice) for on_slice in rings.values())


def rating_off_scale(annotation: AnnotationRecord) -> bool:
    """Whether a rating is outside its scale: one reader of LIDC-IDRI-0510 gives internal structure 5, of 1-4."""
    return not all(1 <= rating <= HIGHEST_RATING[name] for name, rating in annotation.ratings.items())


def _ring(points: np.ndarray) -> np.ndarray:
    """The outline's points without the repeated first one at its end."""
    return points[:-1] if len(points) > 1 and (points[0] == points[-1]).all() else points


def _meet(rings: list[np.ndarray]) -> bool:
    """Whether a pixel, or the midpoint between neighbouring pixels, is visited twice."""
    pixels = np.concatenate(rings)
    middles = np.concatenate([ring + np.roll(ring, -1, axis=0) for ring in rings if len(ring) > 1] or [pixels])
    return any(len(set(map(tuple, visited.tolist()))) < len(visited) for visited in (pixels, middles))


def _nested(rings: list[np.ndarray]) -> bool:
    """Whether one of several outlines that do not meet lies inside another."""
    return any(
        len(outer) > 2 and Polygon(outer).contains_point(inner[0]) for outer, inner in itertools.permutations(rings, 2)
    )


@functools.lru_cache(maxsize=64)  # used by the nodule and by each annotation
def _mark_flags(annotation: AnnotationRecord) -> dict[str, bool]:
    return {
        "exclusion_contours": not all(contour.inclusion for contour in annotation.contours),
        "self_overlap": self_overlap(annotation),
        "rating_off_scale": rating_off_scale(annotation),
    }


def _shared_flags(nodule: NoduleRecord, scan: ScanRecord) -> dict[str, bool]:
    return {
        "more_than_four_annotations": len(nodule.annotations) > MOST_READERS,
        "non_uniform_z": non_uniform_z(scan),
        "two_scans": has_two_scans(scan),
    }


def _ordered(shared: dict[str, bool], **own: bool) -> dict[str, bool]:
    found = shared | own
    return {name: bool(found[name]) for name in FLAGS}


def _components(mask: np.ndarray) -> int:
    """Number of 26-connected components."""
    _, count = cast(tuple[np.ndarray, int], ndimage.label(mask, np.ones((3, 3, 3))))
    return count


@functools.cache
def _patients_with_two_scans() -> frozenset[str]:
    counts = Counter(scan.patient_id for scan in scans())
    return frozenset(patient for patient, count in counts.items() if count > 1)
