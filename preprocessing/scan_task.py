"""One scan from DICOM to its files; the record that is written last says that the scan is finished."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel

from lung_nodule.io import InputError, Series, Volume, read_series, write_json, write_nifti

from . import database
from .nodule_volume import NoduleVolume, build_nodule, label_map
from .qc import write_picture
from .records import ScanRecord
from .rows import annotation_rows, nodule_row, scan_paths, scan_row, voi_paths
from .settings import Settings
from .sources import series_of

Record = dict[str, Any]
RECORD_PARTS = {"settings", "scan", "nodules", "annotations", "files"}


@dataclass(frozen=True)
class ScanTask:
    """Everything that a worker process needs to convert one scan."""

    scan: ScanRecord
    folders: tuple[Path, ...]
    out: Path
    settings: Settings

    @property
    def record_path(self) -> Path:
        """The scan's record; it exists only when every other file of the scan is whole."""
        return self.out / scan_paths(self.scan)["record"]


@dataclass(frozen=True)
class Refused:
    """A scan that was not converted, and why."""

    scan: ScanRecord
    reason: str


def convert_scan(task: ScanTask) -> Refused | None:
    """Convert one scan unless it is finished already. Runs in a worker process.

    Returns:
        None when the scan is finished, else why it was refused (nothing of it counts as written).
    """
    if finished_record(task) is not None:
        return None
    task.record_path.unlink(missing_ok=True)
    try:
        series = read_series(series_of(task.scan, task.folders))
        nodules = [build_nodule(nodule, series, task.settings) for nodule in database.nodules(task.scan)]
    except InputError as error:
        return Refused(task.scan, str(error))
    _remove_leftovers(task, nodules)
    written = _write_scan(task, series, nodules)
    write_json(task.record_path, _record(task, series, nodules, written))
    return None


def finished_record(task: ScanTask) -> Record | None:
    """The record of a finished scan; None where it was not converted or one of its files is gone or cut short."""
    record = read_record(task.record_path) if task.record_path.is_file() else None
    if record is None:
        return None
    files = {task.out / name: entry["bytes"] for name, entry in record["files"].items()}
    whole = all(path.is_file() and path.stat().st_size == size for path, size in files.items())
    return record if whole else None


def read_record(path: Path) -> Record:
    """Read a scan's record.

    Raises:
        InputError: it is not such a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict) or not record.keys() >= RECORD_PARTS:
        raise InputError(f"{path} is no record of a converted scan: remove it, the scan is then redone")
    return record


def _remove_leftovers(task: ScanTask, nodules: list[NoduleVolume]) -> None:
    """Remove the scan's temporary files of a run that was killed while it wrote them."""
    patterns = [f"scans/.{task.scan.name}*", f"qc/.{task.scan.name}.*"]
    patterns += [f"voi/.{nodule.nodule.nodule_id}_*" for nodule in nodules]
    for pattern in patterns:
        for path in task.out.glob(pattern):
            path.unlink(missing_ok=True)


def _write_scan(task: ScanTask, series: Series, nodules: list[NoduleVolume]) -> list[str]:
    """Write the scan's volumes, VOIs and picture; returns their paths relative to the dataset."""
    volume, paths = series.volume, scan_paths(task.scan)
    write_nifti(task.out / paths["ct"], volume)
    write_nifti(task.out / paths["nodule_labels"], Volume(label_map(nodules, volume.shape), volume.affine))
    written = [paths["ct"], paths["nodule_labels"], paths["qc"]]
    for nodule in nodules:
        names = voi_paths(nodule.nodule.nodule_id)
        box = nodule.voi_box(volume, task.settings.margin_mm)
        ct = volume.crop(box)
        write_nifti(task.out / names["ct"], ct)
        write_nifti(task.out / names["mask"], Volume(nodule.place(nodule.mask, box), ct.affine))
        write_nifti(task.out / names["reader_masks"], Volume(nodule.place(nodule.readers, box), ct.affine))
        written += names.values()
    write_picture(task.out / paths["qc"], task.scan, series, nodules)
    return written


def _record(task: ScanTask, series: Series, nodules: list[NoduleVolume], written: list[str]) -> Record:
    orientation = "".join(nibabel.aff2axcodes(series.volume.affine))
    return {
        "settings": task.settings.as_dict(),
        "scan": scan_row(task.scan, series, nodules, orientation),
        "nodules": [nodule_row(task.scan, series, nodule, label) for label, nodule in enumerate(nodules, start=1)],
        "annotations": [row for nodule in nodules for row in annotation_rows(nodule)],
        "files": {name: _fingerprint(task.out / name) for name in written},
    }


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
