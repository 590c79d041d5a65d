"""Tables and counts of a cohort from the annotation database alone, without images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from lung_nodule.errors import InputError
from lung_nodule.holdout import HOLDOUT
from lung_nodule.io import read_table, write_table
from lung_nodule.lidc import CHARACTERISTICS
from preprocessing.lidc import database
from preprocessing.lidc.annotation_rows import (
    ANNOTATION_COLUMNS,
    SPACING_COLUMNS,
    Row,
    annotation_rows,
    mean_diameter,
    rating_statistics,
)
from preprocessing.lidc.folds import committed_folds
from preprocessing.lidc.masks import consensus, nodule_box, reader_mask
from preprocessing.lidc.presets import Preset
from preprocessing.lidc.quality import FLAGS, annotation_flags, nodule_flags
from preprocessing.lidc.records import NoduleRecord, ScanRecord

CONSENSUS = 0.5
# The database has no x and y origin: in the plane the centre is given in pixels of the stored slices.
COHORT_NODULE_COLUMNS = [
    "nodule_id", "patient_id", "series_uid", "readers", *SPACING_COLUMNS, "center_column", "center_row", "center_z_ras",
    "diameter_mm", "volume_mm3", *(f"{name}_{how}" for name in CHARACTERISTICS for how in ("mean", "median")),
    "scan", *FLAGS,
]  # fmt: skip
COHORT_ANNOTATION_COLUMNS = [*ANNOTATION_COLUMNS, *FLAGS]
DATASET_NAMES = ("MANIFEST.sha256", "dataset.json", "scans.csv", "scans", "voi")
TABLES = {"nodules.csv": COHORT_NODULE_COLUMNS, "annotations.csv": COHORT_ANNOTATION_COLUMNS}


@dataclass(frozen=True)
class Cohort:
    """A preset's scans (with nodules or without), and the rows of its nodules and of their annotations."""

    preset: Preset
    scans: Sequence[ScanRecord]
    nodules: pd.DataFrame
    annotations: pd.DataFrame

    @property
    def patients(self) -> list[str]:
        """Patients with at least one nodule of the cohort."""
        return sorted(self.nodules["patient_id"].unique())


def build_cohort(preset: Preset) -> Cohort:
    """Select and describe the preset's nodules, including their masks; about fifteen seconds for all 1018 scans."""
    nodules: list[Row] = []
    annotations: list[Row] = []
    for scan, nodule, row in tqdm(chosen_nodules(preset), desc=preset.name, unit="nodule", disable=None):
        details, marks = _draw(nodule, scan)
        nodules.append(row | details)
        annotations.extend(marks)
    return Cohort(
        preset=preset,
        scans=[scan for scan in database.scans() if preset.takes_scan(scan)],
        nodules=pd.DataFrame(nodules, columns=COHORT_NODULE_COLUMNS),
        annotations=pd.DataFrame(annotations, columns=COHORT_ANNOTATION_COLUMNS),
    )


def chosen_nodules(preset: Preset) -> list[tuple[ScanRecord, NoduleRecord, Row]]:
    """The preset's nodules, each with its scan and the columns of its row that need no mask."""
    return [entry for entry in _every_nodule() if preset.takes_scan(entry[0]) and preset.takes_nodule(entry[2])]


@functools.cache
def _every_nodule() -> list[tuple[ScanRecord, NoduleRecord, Row]]:
    return [
        (scan, nodule, _describe(nodule, scan))
        for scan in tqdm(database.scans(), desc="clusters", unit="scan", disable=None)
        for nodule in database.nodules(scan)
    ]


def cohort_counts(cohort: Cohort) -> dict[str, Any]:
    """Numbers of nodules by annotations, by class of malignancy and by quality flag, as the command prints them.

    ``benign``, ``uncertain`` and ``malignant`` are below, at and above 3 in the preset's statistic.
    """
    preset, table = cohort.preset, cohort.nodules
    classes = class_counts(table, cohort.patients, statistic=preset.statistic).sum()
    readers = table["readers"].clip(upper=4).value_counts()
    folds = committed_folds(cohort.patients)
    return {
        "preset": preset.name,
        "rule": preset.rule,
        "scans": len(cohort.scans),
        "patients": len(cohort.patients),
        "holdout_patients": int((folds["fold"] == HOLDOUT).sum()),
        "nodules": len(table),
        "annotations": len(cohort.annotations),
        "nodules_by_annotations": {f"{n}{'+' * (n == 4)}": int(readers.get(n, 0)) for n in range(1, 5)},
        "malignancy_statistic": preset.statistic,
        "malignancy": {name: int(count) for name, count in classes.items()},
        "flagged_nodules": {name: int(table[name].sum()) for name in FLAGS},
        "flagged_annotations": {name: int(cohort.annotations[name].sum()) for name in FLAGS},
        "printed_in_paper": dict(preset.printed),
        "note": preset.note,
    }


def class_counts(nodules: pd.DataFrame, patients: Sequence[str], *, statistic: str = "mean") -> pd.DataFrame:
    """Nodules per patient (rows) in the classes benign (< 3), uncertain (= 3), malignant (> 3).

    Args:
        nodules: table with ``patient_id`` and ``malignancy_<statistic>``.
        patients: patients, the rows of the result.
        statistic: ``mean`` or ``median`` of the readers' ratings.
    """
    rating = nodules[f"malignancy_{statistic}"].astype("float64")
    classes = {"benign": rating < 3, "uncertain": rating == 3, "malignant": rating > 3}
    table = pd.DataFrame({name: members.groupby(nodules["patient_id"]).sum() for name, members in classes.items()})
    return table.reindex(list(patients), fill_value=0).astype(int)


def check_no_dataset(out: Path) -> None:
    """Raise InputError if the folder holds a dataset, finished or not, or tables that no cohort wrote."""
    held = [name for name in DATASET_NAMES if (out / name).exists()]
    held += [
        name for name, columns in TABLES.items() if (out / name).exists() and not _has_columns(out / name, columns)
    ]
    if held:
        raise InputError(f"{out} holds a dataset ({', '.join(held)}), which must stay as it is: give another --out")


def _has_columns(path: Path, columns: Sequence[str]) -> bool:
    try:
        return list(read_table(path)) == list(columns)
    except InputError:
        return False


def write_cohort(cohort: Cohort, out: Path) -> None:
    """Write nodules.csv, annotations.csv and the patients' committed folds (folds.csv)."""
    write_table(out / "nodules.csv", cohort.nodules)
    write_table(out / "annotations.csv", cohort.annotations)
    write_table(out / "folds.csv", committed_folds(cohort.patients))


def _describe(nodule: NoduleRecord, scan: ScanRecord) -> Row:
    """The columns of a nodule's row that presets select by."""
    return {
        "nodule_id": nodule.nodule_id,
        "patient_id": scan.patient_id,
        "series_uid": scan.series_uid,
        "readers": len(nodule.annotations),
        "slice_thickness_mm": scan.slice_thickness_mm,
        "spacing_x_mm": round(scan.pixel_spacing_mm, 6),
        "spacing_y_mm": round(scan.pixel_spacing_mm, 6),
        "spacing_z_mm": round(scan.slice_spacing_mm, 6),
        "diameter_mm": mean_diameter(nodule.annotations),
        **rating_statistics(nodule.annotations),
        "scan": scan.name,
    }


@functools.cache
def _draw(nodule: NoduleRecord, scan: ScanRecord) -> tuple[Row, list[Row]]:
    """Centre, volume and flags of the consensus mask, and the annotations' rows with their flags."""

    def slice_of(z: float) -> int:
        return int(np.abs(scan.slice_positions - z).argmin())

    box = nodule_box(nodule, slice_of)
    masks = [reader_mask(annotation, box, slice_of) for annotation in nodule.annotations]
    mask = consensus(masks, level=CONSENSUS)
    column, row, k = np.argwhere(mask).mean(axis=0) + [part.start for part in box]
    z = np.interp(k, np.arange(len(scan.slice_positions)), scan.slice_positions)
    voxel_mm3 = scan.pixel_spacing_mm**2 * scan.slice_spacing_mm
    details = {
        "center_column": round(float(column), 3),
        "center_row": round(float(row), 3),
        "center_z_ras": round(float(z), 3),
        "volume_mm3": round(float(mask.sum() * voxel_mm3), 2),
        **nodule_flags(nodule, scan, mask),
    }
    marks = [
        line | annotation_flags(annotation, nodule, scan, own)
        for line, annotation, own in zip(annotation_rows(nodule), nodule.annotations, masks, strict=True)
    ]
    return details, marks
