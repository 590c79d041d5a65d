"""Convert one scan from DICOM to its files; its record is written last and marks it as finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lung_nodule.errors import InputError
from lung_nodule.io import Series, Volume, read_series, write_json, write_nifti
from lung_nodule.runtime.software import this_software
from preprocessing.convert.series_checks import require_one_kind, require_pixel_grid
from preprocessing.convert.sources import Sources, series_of
from preprocessing.convert.unfinished import begin, finish
from preprocessing.dataset.conversion_settings import ConversionSettings
from preprocessing.dataset.pictures import write_picture
from preprocessing.dataset.rows import nodule_row, scan_paths, scan_row, voi_paths
from preprocessing.dataset.scan_records import Record, fingerprint, finished_record
from preprocessing.lidc import database
from preprocessing.lidc.annotation_rows import annotation_rows
from preprocessing.lidc.nodule_volume import NoduleVolume, build_nodule, label_map
from preprocessing.lidc.records import ScanRecord


@dataclass(frozen=True)
class ScanTask:
    """Everything a worker process needs to convert one scan."""

    scan: ScanRecord
    sources: Sources
    out: Path
    settings: ConversionSettings

    @property
    def record_path(self) -> Path:
        """The scan's record; it exists only when all other files of the scan are complete."""
        return self.out / scan_paths(self.scan)["record"]


@dataclass(frozen=True)
class SkippedScan:
    """A scan that was not converted, and why; ``scan`` is None for unreadable files of an unknown scan."""

    scan: ScanRecord | None
    reason: str

    @property
    def name(self) -> str:
        """The scan's name; empty where it is unknown."""
        return "" if self.scan is None else self.scan.name


def convert_scan(task: ScanTask) -> SkippedScan | None:
    """Convert one scan unless it is already finished. Runs in a worker process.

    Returns:
        None if the scan is finished, else why it was refused.
    """
    if finished_record(task.out, task.record_path) is not None:
        return None
    begin(task.out, task.scan)
    task.record_path.unlink(missing_ok=True)
    try:
        files = series_of(task.scan, task.sources)
        require_one_kind(files)
        series = read_series(files, complete=True, duplicates=task.settings.duplicates)
        require_pixel_grid(series, task.scan)
        level = task.settings.consensus
        nodules = [build_nodule(nodule, series, level=level) for nodule in database.nodules(task.scan)]
    except InputError as error:
        return SkippedScan(task.scan, str(error))
    written = _write_scan(task, series, nodules)
    write_json(task.record_path, _record(task, series, nodules, written))
    finish(task.out, task.scan)
    return None


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
        write_nifti(task.out / names["soft_mask"], Volume(nodule.place(nodule.soft, box), ct.affine))
        written += names.values()
    write_picture(task.out / paths["qc"], task.scan, series, nodules)
    return written


def _record(task: ScanTask, series: Series, nodules: list[NoduleVolume], written: list[str]) -> Record:
    return {
        "settings": task.settings.as_dict(),
        "duplicates": task.settings.duplicates if "differing_duplicates" in series.remarks else None,
        "software": this_software().as_dict(),
        "scan": scan_row(task.scan, series, nodules),
        "nodules": [nodule_row(task.scan, series, nodule, label) for label, nodule in enumerate(nodules, start=1)],
        "annotations": [row for nodule in nodules for row in annotation_rows(nodule.nodule)],
        "files": {name: fingerprint(task.out / name) for name in written},
    }
