"""The flags of ``scans.csv`` and ``nodules.csv``: every name that can stand there, and what holds for a scan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import nibabel

from lung_nodule.io import Series

from ..lidc.clustering import MOST_READERS
from ..lidc.quality import FLAGS, has_two_scans, rating_off_scale
from ..lidc.records import NoduleRecord, ScanRecord

USUAL_ORIENTATION = "LPS"
# Of the slices' places, which nodules.csv repeats for every nodule of the scan.
PLACE_FLAGS = (
    "duplicate_z",
    "differing_duplicates",
    "non_uniform_z",
    "unmeasured_gap",
    "flipped",
    "two_scans",
)
FILE_FLAGS = ("extra_slices", "padding", "odd_numbers", "compressed")
MARK_FLAGS = ("no_nodules", "more_than_four_annotations", "rating_off_scale")
SCAN_FLAGS = (*PLACE_FLAGS, *FILE_FLAGS, *MARK_FLAGS)
NODULE_FLAGS = tuple(dict.fromkeys((*FLAGS, "empty_consensus", *PLACE_FLAGS)))


def scan_flags(scan: ScanRecord, series: Series, nodules: Sequence[NoduleRecord]) -> list[str]:
    """What is unusual about a scan and was dealt with, in the order of SCAN_FLAGS.

    Args:
        scan: what the database says of it.
        series: the volume, with its remarks.
        nodules: all of its nodules; a property of one of them counts.
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
    """Those of a scan's flags that concern each of its nodules."""
    return [name for name in flags if name in PLACE_FLAGS]


def orientation(series: Series) -> str:
    """Where the volume's axes run to, e.g. ``LPS``: Left, Posterior, Superior."""
    return "".join(nibabel.aff2axcodes(series.volume.affine))
