"""Rows of the dataset's tables, with the columns and the rounding that every reader of the layout expects."""

from __future__ import annotations

from typing import Any

import numpy as np

from lung_nodule.io import Series

from .nodule_volume import NoduleVolume
from .records import CHARACTERISTICS, ScanRecord

Row = dict[str, Any]

SPACING_COLUMNS = ["slice_thickness_mm", "spacing_x_mm", "spacing_y_mm", "spacing_z_mm"]
SCAN_COLUMNS = [
    *("scan", "patient_id", "study_uid", "series_uid", "slices", "rows", "columns"),
    *SPACING_COLUMNS,
    *("orientation", "manufacturer", "nodules", "annotations", "ct", "nodule_labels"),
]
NODULE_COLUMNS = [
    *("nodule_id", "patient_id", "series_uid", "readers"),
    *SPACING_COLUMNS,
    *("center_x_ras", "center_y_ras", "center_z_ras", "diameter_mm", "volume_mm3"),
    *(f"{name}_{how}" for name in CHARACTERISTICS for how in ("mean", "median")),
    *("ct", "mask", "reader_masks", "scan", "label", "flags"),
]
ANNOTATION_COLUMNS = ["nodule_id", "annotation_id", "reader", *CHARACTERISTICS, "diameter_mm", "volume_mm3"]


def voi_paths(nodule_id: str) -> dict[str, str]:
    """Paths of a nodule's three VOI files, relative to the dataset."""
    kinds = {"ct": "ct", "mask": "mask", "reader_masks": "readers"}
    return {column: f"voi/{nodule_id}_{kind}.nii.gz" for column, kind in kinds.items()}


def scan_paths(scan: ScanRecord) -> dict[str, str]:
    """Paths of a scan's files, relative to the dataset."""
    return {
        "ct": f"scans/{scan.name}_ct.nii.gz",
        "nodule_labels": f"scans/{scan.name}_nodules.nii.gz",
        "qc": f"qc/{scan.name}.png",
        "record": f"scans/{scan.name}.json",
    }


def scan_row(scan: ScanRecord, series: Series, nodules: list[NoduleVolume], orientation: str) -> Row:
    """A row of scans.csv."""
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
        "orientation": orientation,
        "manufacturer": series.manufacturer,
        "nodules": len(nodules),
        "annotations": sum(len(nodule.nodule.annotations) for nodule in nodules),
        "ct": paths["ct"],
        "nodule_labels": paths["nodule_labels"],
    }


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
        "diameter_mm": round(float(np.mean([annotation.diameter_mm for annotation in annotations])), 3),
        "volume_mm3": round(float(nodule.mask.sum() * np.prod(series.volume.spacing)), 2),
    }
    for name in CHARACTERISTICS:
        values = [annotation.ratings[name] for annotation in annotations]
        row[f"{name}_mean"] = round(float(np.mean(values)), 4)
        row[f"{name}_median"] = float(np.median(values))
    return row | voi_paths(nodule.nodule.nodule_id) | {"scan": scan.name, "label": label, "flags": nodule.flags}


def annotation_rows(nodule: NoduleVolume) -> list[Row]:
    """Rows of annotations.csv; ``reader`` is the position in ``_readers`` and carries no meaning across nodules."""
    return [
        {
            "nodule_id": nodule.nodule.nodule_id,
            "annotation_id": annotation.annotation_id,
            "reader": reader,
            **annotation.ratings,
            "diameter_mm": round(annotation.diameter_mm, 3),
            "volume_mm3": round(annotation.volume_mm3, 2),
        }
        for reader, annotation in enumerate(nodule.nodule.annotations)
    ]


def _spacing(series: Series) -> Row:
    return {f"spacing_{axis}_mm": round(float(mm), 6) for axis, mm in zip("xyz", series.volume.spacing, strict=True)}
