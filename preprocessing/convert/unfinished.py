"""Scans that were started and not finished: their markers, and the removal of their files.

A scan's first file is an empty marker, ``scans/<scan>.unfinished``, which is deleted once the scan's record is written.
Only files of a scan with such a marker are ever removed, each by its full name.
"""

from __future__ import annotations

import functools
import logging
from contextlib import suppress
from pathlib import Path

from lung_nodule.io import unfinished_writes
from preprocessing.dataset.rows import scan_paths, voi_paths
from preprocessing.dataset.scan_records import finished_record
from preprocessing.lidc import database
from preprocessing.lidc.records import ScanRecord

logger = logging.getLogger(__name__)

MARKER = ".unfinished"


def scan_files(scan: ScanRecord) -> list[str]:
    """Every file that the conversion of a scan writes, relative to the dataset; its record is the last."""
    paths = scan_paths(scan)
    vois = [path for nodule in database.nodules(scan) for path in voi_paths(nodule.nodule_id).values()]
    return [paths["ct"], paths["nodule_labels"], *vois, paths["qc"], paths["record"]]


def begin(out: Path, scan: ScanRecord) -> None:
    """Mark a scan as unfinished before its files are written or removed, and remove half-written ones."""
    marker = _marker(out, scan)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    for path in unfinished_writes([out / name for name in scan_files(scan)]):
        path.unlink()


def finish(out: Path, scan: ScanRecord) -> None:
    """Delete the marker; the scan's record must exist."""
    _marker(out, scan).unlink()


def unfinished_scans(out: Path) -> list[ScanRecord]:
    """The scans marked as unfinished, ordered by name."""
    markers = sorted((out / "scans").glob(f"*{MARKER}"))
    return [scan for marker in markers if (scan := _scan_named(marker.name.removesuffix(MARKER))) is not None]


def remove_unfinished(out: Path) -> None:
    """Remove all files of unfinished scans, including half-written ones; no other run may be writing.

    If the run stopped between writing the record and deleting the marker, the scan is finished: only the marker goes.
    """
    for scan in unfinished_scans(out):
        files = [out / name for name in scan_files(scan)]
        finished = finished_record(out, files[-1]) is not None
        found = unfinished_writes(files) + [path for path in reversed(files) if not finished and path.is_file()]
        for path in found:
            path.unlink()
        if found:
            logger.info("removed %d files of %s, which was not finished", len(found), scan.name)
        finish(out, scan)
    with suppress(OSError):
        (out / "scans").rmdir()  # if it held only markers


def _marker(out: Path, scan: ScanRecord) -> Path:
    return out / "scans" / f"{scan.name}{MARKER}"


@functools.cache
def _scans_by_name() -> dict[str, ScanRecord]:
    return {scan.name: scan for scan in database.scans()}


def _scan_named(name: str) -> ScanRecord | None:
    return _scans_by_name().get(name)
