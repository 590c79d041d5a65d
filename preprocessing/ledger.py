"""What is finished: a scan's record, written last, with the size and SHA-256 of each of its files."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lung_nodule.io import InputError, file_sha256

logger = logging.getLogger(__name__)

Record = dict[str, Any]
RECORD_PARTS = {"settings": dict, "scan": dict, "nodules": list, "annotations": list, "files": dict}
FILE_FOLDERS = ("scans", "voi", "qc")
SCAN_FILE = re.compile(r"LIDC-IDRI-\d{4}_[as]\d.*")
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}(\.\w+)*")  # names that lung_nodule.io.atomic_path gives


def fingerprint(path: Path) -> dict[str, Any]:
    """What a record keeps of a file: ``bytes`` and ``sha256``."""
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def read_record(path: Path) -> Record:
    """Read a scan's record.

    Raises:
        InputError: it is not such a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    whole = isinstance(record, dict) and all(isinstance(record.get(part), kind) for part, kind in RECORD_PARTS.items())
    if not whole:
        raise InputError(f"{path} is no record of a converted scan: remove it, the scan is then redone")
    return record


def finished_record(out: Path, record_path: Path) -> Record | None:
    """The record of a finished scan; None where it was not converted or one of its files is gone or not as written.

    Sizes are compared always, checksums for files that are not older than the record: the record is written last, so
    only those can have changed since (a copy of a dataset without its times is read once through). ``verify`` reads
    everything.
    """
    if not record_path.is_file():
        return None
    try:
        record = read_record(record_path)
    except InputError:
        logger.warning("%s cannot be read as a record: its scan is redone", record_path)
        return None
    written = record_path.stat().st_mtime_ns
    whole = all(_as_written(out / name, entry, written) for name, entry in record["files"].items())
    return record if whole else None


def _as_written(path: Path, entry: Mapping[str, Any], record_written: int) -> bool:
    if not path.is_file():
        return False
    status = path.stat()
    if status.st_size != entry["bytes"]:
        return False
    return status.st_mtime_ns < record_written or file_sha256(path) == entry["sha256"]


def remove_temporaries(out: Path) -> None:
    """Remove the half-written files of a run that was killed; no other run may be writing to the folder."""
    for folder in (out, *(out / name for name in FILE_FOLDERS)):
        for path in folder.glob(".*"):
            if TEMPORARY.fullmatch(path.name) and path.is_file():
                path.unlink()


def remove_unrecorded(out: Path, records: list[Record]) -> None:
    """Remove scans' files that no record lists: of a scan that was cut off, or refused after it had been converted."""
    recorded = {name for record in records for name in record["files"]}
    recorded |= {f"scans/{record['scan']['scan']}.json" for record in records}
    for folder in FILE_FOLDERS:
        for path in (out / folder).glob("*"):
            if SCAN_FILE.fullmatch(path.name) and f"{folder}/{path.name}" not in recorded:
                logger.info("removed %s: its scan is not finished", path)
                path.unlink()
