"""Records of finished scans: written last, with the size and SHA-256 of each of the scan's files."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256

logger = logging.getLogger(__name__)

Record = dict[str, Any]
RECORD_PARTS = {"settings": dict, "scan": dict, "nodules": list, "annotations": list, "files": dict}
FILE_FOLDERS = ("scans", "voi", "qc")
SYNTHETIC = ("synthetic", "phantom")
"""Words in the manufacturer's name of a synthetic scan."""


def fingerprint(path: Path) -> dict[str, Any]:
    """Size (``bytes``) and checksum (``sha256``) of a file, as a record lists them."""
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def read_record(path: Path) -> Record:
    """Read a scan's record.

    Raises:
        InputError: the file is not such a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict) or not all(
        isinstance(record.get(part), kind) for part, kind in RECORD_PARTS.items()
    ):
        raise InputError(f"{path} is not a record of a converted scan: remove it, the scan is then redone")
    return record


def read_records(out: Path) -> list[Record]:
    """Records of all finished scans of a dataset, ordered by scan; unreadable ones are skipped with a warning."""
    records = []
    for path in sorted(path for path in (out / "scans").glob("*.json") if not path.name.startswith(".")):
        try:
            records.append(read_record(path))
        except InputError as error:
            logger.warning("%s", error)
    return records


def finished_record(out: Path, record_path: Path) -> Record | None:
    """The record of a finished scan; None if it was not converted, or if one of its files is missing or has changed.

    Sizes are always compared, checksums only for files that are not older than the record: the record is written last,
    so only those can have changed since. ``verify`` reads every file.
    """
    if not record_path.is_file():
        return None
    try:
        record = read_record(record_path)
    except InputError:
        logger.warning("%s cannot be read as a record: its scan is redone", record_path)
        return None
    written = record_path.stat().st_mtime_ns
    intact = all(as_written(out / name, entry, written) for name, entry in record["files"].items())
    return record if intact else None


def as_written(path: Path, entry: Mapping[str, Any], record_written: int) -> bool:
    """Whether a file is unchanged since its record was written.

    Args:
        path: path of the file.
        entry: entry of the file as returned by :func:`fingerprint`.
        record_written: modification time of the record in ns; the checksum of a newer file is computed.
    """
    if not path.is_file():
        return False
    status = path.stat()
    if status.st_size != entry["bytes"]:
        return False
    return status.st_mtime_ns < record_written or file_sha256(path) == entry["sha256"]


def software_of_scans(records: Sequence[Record]) -> dict[str, int]:
    """Number of scans by the version that wrote them."""
    return dict(sorted(Counter(str(record["scan"].get("software", "unknown")) for record in records).items()))


def is_synthetic(manufacturer: str) -> bool:
    """Whether a scan is synthetic, by the manufacturer's name."""
    return any(word in manufacturer.lower() for word in SYNTHETIC)
