"""The column ``flags`` of ``scans.csv`` and ``nodules.csv``: all names, and those that hold for a scan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import nibabel

from lung_nodule.io import Series
from preprocessing.lidc.clustering import MOST_READERS
from preprocessing.lidc.quality import FLAGS, has_two_scans, rating_off_scale
from preprocessing.lidc.records import NoduleRecord, ScanRecord

USUAL_ORIENTATION = "LPS"
# Flags of the slice positions, repeated in nodules.csv for every nodule of the scan.
PLACE_FLAGS = (
    "duplicate_z",
    "differing_duplicates",
    "non_uniform_z",
    "unmeasured_gap",
    "flipped",
    "two_scans",
)
FILE_FLAGS = ("extra_slices", "padding", "blank_slices", "odd_numbers", "compressed")
MARK_FLAGS = ("no_nodules", "more_than_four_annotations", "rating_off_scale")
SCAN_FLAGS = (*PLACE_FLAGS, *FILE_FLAGS, *MARK_FLAGS)
NODULE_FLAGS = tuple(dict.fromkeys((*FLAGS, "empty_consensus", *PLACE_FLAGS)))


def scan_flags(scan: ScanRecord, series: Series, nodules: Sequence[NoduleRecord]) -> list[str]:
    """Flags of a scan, in the order of SCAN_FLAGS.

    Args:
        scan: record of the scan in the database.
        series: series with the volume and its remarks.
        nodules: all nodules of the scan; a flag holds if it holds for one of them.
    """
    own = {
        "flipped": orientation(series) != USUAL_ORIENTATION,
        "two_scans": has_two_scans(scan),
        "no_nodules": not nodules,
        "more_than_four_annotations": any(len(nodule.annotations) > MOST_READERS for nodule in nodules),
        "rating_off_scale": any(rating_off_scale(mark) for nodule in nodules for mark in nodule.annotations),
    }
    found = [*series.remarks, *(name for name, holds in own.items() if holds)]
    return sorted(found, key=SCAN_FLAGS.index)


def of_place(flags: Iterable[str]) -> list[str]:
    """The flags of a scan that apply to each of its nodules."""
    return [name for name in flags if name in PLACE_FLAGS]


def orientation(series: Series) -> str:
    """Directions of the volume's axes, e.g. ``LPS``: Left, Posterior, Superior."""
    return "".join(nibabel.aff2axcodes(series.volume.affine))
