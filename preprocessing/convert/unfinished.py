"""Scans that were begun and not finished: exactly which files they may have left, and their removal.

A scan's first file is an empty mark, ``scans/<scan>.unfinished``; it goes once the scan's record is written. Only for
a scan with such a mark are files removed, by their full names, so that nothing else in the folder is ever touched.
"""

from __future__ import annotations

import functools
import logging
from contextlib import suppress
from pathlib import Path

from lung_nodule.io import unfinished_writes

from ..dataset.rows import scan_paths, voi_paths
from ..dataset.scan_records import finished_record
from ..lidc import database
from ..lidc.records import ScanRecord

logger = logging.getLogger(__name__)

MARK = ".unfinished"


def scan_files(scan: ScanRecord) -> list[str]:
    """Every file that the conversion of a scan writes, relative to the dataset; its record is the last."""
    paths = scan_paths(scan)
    vois = [path for nodule in database.nodules(scan) for path in voi_paths(nodule.nodule_id).values()]
    return [paths["ct"], paths["nodule_labels"], *vois, paths["qc"], paths["record"]]


def begin(out: Path, scan: ScanRecord) -> None:
    """Mark a scan as unfinished, before any of its files is written or removed; half-written ones of its files go."""
    mark = _mark(out, scan)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    for path in unfinished_writes([out / name for name in scan_files(scan)]):
        path.unlink()


def finish(out: Path, scan: ScanRecord) -> None:
    """Take the mark away; the scan's record must be there."""
    _mark(out, scan).unlink()


def unfinished_scans(out: Path) -> list[ScanRecord]:
    """The scans that are marked as unfinished, ordered by name."""
    marks = sorted((out / "scans").glob(f"*{MARK}"))
    return [scan for mark in marks if (scan := _scan_named(mark.name.removesuffix(MARK))) is not None]


def remove_unfinished(out: Path) -> None:
    """Remove the files of unfinished scans, their half-written ones among them; no other run may be writing.

    A scan that was cut off between its record and the removal of its mark is finished, and only loses the mark.
    """
    for scan in unfinished_scans(out):
        files = [out / name for name in scan_files(scan)]
        whole = finished_record(out, files[-1]) is not None
        found = unfinished_writes(files) + [path for path in reversed(files) if not whole and path.is_file()]
        for path in found:
            path.unlink()
        if found:
            logger.info("removed %d files of %s, which was not finished", len(found), scan.name)
        finish(out, scan)
    with suppress(OSError):
        (out / "scans").rmdir()  # where it held marks alone


def _mark(out: Path, scan: ScanRecord) -> Path:
    return out / "scans" / f"{scan.name}{MARK}"


@functools.cache
def _scans_by_name() -> dict[str, ScanRecord]:
    return {scan.name: scan for scan in database.scans()}


def _scan_named(name: str) -> ScanRecord | None:
    return _scans_by_name().get(name)
