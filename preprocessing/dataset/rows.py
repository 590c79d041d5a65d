"""Rows and columns of the dataset's tables, and the paths of its files."""

from __future__ import annotations

import numpy as np

from lung_nodule.io import Series
from lung_nodule.lidc import CHARACTERISTICS
from lung_nodule.runtime.software import this_software
from preprocessing.dataset.flags import NODULE_FLAGS, of_place, orientation, scan_flags
from preprocessing.lidc.annotation_rows import SPACING_COLUMNS, Row, mean_diameter, rating_statistics
from preprocessing.lidc.nodule_volume import NoduleVolume
from preprocessing.lidc.quality import nodule_flags
from preprocessing.lidc.records import ScanRecord

SCAN_COLUMNS = [
    "scan", "patient_id", "study_uid", "series_uid", "slices", "rows", "columns", *SPACING_COLUMNS, "orientation",
    "manufacturer", "nodules", "annotations", "ct", "nodule_labels", "dicom_slices", "flags", "remarks", "software",
]  # fmt: skip
NODULE_COLUMNS = [
    "nodule_id", "patient_id", "series_uid", "readers", *SPACING_COLUMNS,
    "center_x_ras", "center_y_ras", "center_z_ras", "diameter_mm", "volume_mm3",
    *(f"{name}_{how}" for name in CHARACTERISTICS for how in ("mean", "median")),
    "ct", "mask", "reader_masks", "scan", "label", "flags", "soft_mask",
]  # fmt: skip


def voi_paths(nodule_id: str) -> dict[str, str]:
    """Paths of a nodule's four VOI files, relative to the dataset."""
    kinds = {"ct": "ct", "mask": "mask", "reader_masks": "readers", "soft_mask": "soft"}
    return {column: f"voi/{nodule_id}_{kind}.nii.gz" for column, kind in kinds.items()}


def scan_paths(scan: ScanRecord) -> dict[str, str]:
    """Paths of a scan's files, relative to the dataset."""
    return {
        "ct": f"scans/{scan.name}_ct.nii.gz",
        "nodule_labels": f"scans/{scan.name}_nodules.nii.gz",
        "qc": f"qc/{scan.name}.png",
        "record": f"scans/{scan.name}.json",
    }


def scan_row(scan: ScanRecord, series: Series, nodules: list[NoduleVolume]) -> Row:
    """A row of scans.csv; ``flags`` names what was unusual and handled, ``remarks`` gives the details."""
    columns, rows, slices = series.volume.shape
    paths = scan_paths(scan)
    return {
        "scan": scan.name,
        "patient_id": scan.patient_id,
        "study_uid": scan.study_uid,
        "series_uid": scan.series_uid,
        "slices": slices,
        "rows": rows,
        "columns": columns,
        "slice_thickness_mm": scan.slice_thickness_mm,
        **_spacing(series),
        "orientation": orientation(series),
        "manufacturer": series.manufacturer,
        "nodules": len(nodules),
        "annotations": sum(len(nodule.nodule.annotations) for nodule in nodules),
        "ct": paths["ct"],
        "nodule_labels": paths["nodule_labels"],
        "dicom_slices": len(series.slice_positions),
        "flags": ";".join(scan_flags(scan, series, [nodule.nodule for nodule in nodules])),
        "remarks": "; ".join(f"{name}: {text}" for name, text in series.remarks.items()),
        "software": this_software().name,
    }


def nodule_flags_text(scan: ScanRecord, series: Series, nodule: NoduleVolume) -> str:
    """The nodule's quality flags and its scan's flags of slice positions, separated by semicolons."""
    found = [name for name, holds in nodule_flags(nodule.nodule, scan, nodule.mask).items() if holds]
    found += ["empty_consensus"] * (not nodule.mask.any())
    found += of_place(scan_flags(scan, series, [nodule.nodule]))
    return ";".join(sorted(set(found), key=NODULE_FLAGS.index))


def nodule_row(scan: ScanRecord, series: Series, nodule: NoduleVolume, label: int) -> Row:
    """A row of nodules.csv: diameter is the mean of the readers' largest in-plane ones, volume the consensus mask's."""
    annotations = nodule.nodule.annotations
    center = series.volume.to_world(nodule.center_index)
    row: Row = {
        "nodule_id": nodule.nodule.nodule_id,
        "patient_id": scan.patient_id,
        "series_uid": scan.series_uid,
        "readers": len(annotations),
        "slice_thickness_mm": scan.slice_thickness_mm,
        **_spacing(series),
        **{f"center_{axis}_ras": round(float(value), 3) for axis, value in zip("xyz", center, strict=True)},
        "diameter_mm": mean_diameter(annotations),
        "volume_mm3": round(float(nodule.mask.sum() * np.prod(series.volume.spacing)), 2),
        **rating_statistics(annotations),
    }
    return (
        row
        | voi_paths(nodule.nodule.nodule_id)
        | {
            "scan": scan.name,
            "label": label,
            "flags": nodule_flags_text(scan, series, nodule),
        }
    )


def _spacing(series: Series) -> Row:
    return {f"spacing_{axis}_mm": round(float(mm), 6) for axis, mm in zip("xyz", series.volume.spacing, strict=True)}
