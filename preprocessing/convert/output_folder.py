"""Check an existing output folder before a conversion writes to it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from lung_nodule.errors import InputError
from lung_nodule.io import unfinished_writes
from preprocessing.convert.unfinished import scan_files, unfinished_scans
from preprocessing.dataset.scan_records import FILE_FOLDERS, read_record
from preprocessing.lidc import database

TABLES = ("scans", "nodules", "annotations", "folds")
DATASET_FILES = (*(f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")), "dataset.json")
MANIFEST = "MANIFEST.sha256"
NAMED_AFTER_A_PATIENT = re.compile(r"(LIDC-IDRI-\d{4})_.+")
SHOWN = 3


def check_output(out: Path) -> None:
    """Refuse a folder in which the conversion would overwrite files that it did not write.

    Raises:
        InputError: the folder is not a dataset, finished or unfinished, and holds files with names of a dataset; the
            first are listed.
    """
    if is_dataset(out):
        return
    taken = [name for name in (*DATASET_FILES, MANIFEST) if (out / name).exists()] + _taken_scan_files(out)
    if taken:
        more = f" and {len(taken) - SHOWN} more" if len(taken) > SHOWN else ""
        raise InputError(
            f"{out} holds {', '.join(taken[:SHOWN])}{more}, which `convert` did not write (no dataset.json of its own, "
            "no record of a converted scan): give another --out, or move them away"
        )


def is_dataset(out: Path) -> bool:
    """Whether ``convert`` wrote the folder: it has a dataset.json, a scan's record or an unfinished scan's marker."""
    return _is_description(out / "dataset.json") or bool(unfinished_scans(out)) or _holds_a_record(out)


def remove_unfinished_tables(out: Path) -> None:
    """Remove half-written tables of an interrupted run; the folder must be a dataset."""
    for path in unfinished_writes([out / name for name in (*DATASET_FILES, MANIFEST, "skipped.csv")]):
        path.unlink()


def _is_description(path: Path) -> bool:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(found, dict) and {"layout_version", "settings", "rules", "counts"} <= found.keys()
    return False


def _holds_a_record(out: Path) -> bool:
    for path in (out / "scans").glob("*.json"):
        with suppress(InputError):
            return bool(read_record(path))
    return False


def _taken_scan_files(out: Path) -> list[str]:
    """Files with exactly the names that the conversion of a scan writes."""
    present = {f"{folder}/{path.name}" for folder in FILE_FOLDERS for path in (out / folder).glob("*")}
    patients = {match[1] for name in present if (match := NAMED_AFTER_A_PATIENT.fullmatch(name.partition("/")[2]))}
    written = {name for scan in database.scans() if scan.patient_id in patients for name in scan_files(scan)}
    return sorted(present & written)
