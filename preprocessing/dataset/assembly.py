"""Assemble the dataset from the scans' records: tables, dataset.json and manifest."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from lung_nodule.holdout import HOLDOUT
from lung_nodule.io import write_json, write_table
from lung_nodule.lidc import FOLDS
from lung_nodule.runtime.software import this_software
from preprocessing.dataset.conversion_settings import LAYOUT_VERSION, ConversionSettings
from preprocessing.dataset.manifest import write_manifest
from preprocessing.dataset.rows import NODULE_COLUMNS, SCAN_COLUMNS
from preprocessing.dataset.scan_records import Record, is_synthetic, read_records, software_of_scans
from preprocessing.lidc.annotation_rows import ANNOTATION_COLUMNS
from preprocessing.lidc.folds import committed_folds

logger = logging.getLogger(__name__)

LIBRARIES = ("numpy", "nibabel", "isal", "pydicom", "pylidc", "scipy", "matplotlib", "pandas")
CITATION = "Armato et al., Med. Phys. 38 (2011) 915-931; The Cancer Imaging Archive, doi:10.7937/K9/TCIA.2015.LO9QL9SX"


def assemble(out: Path, settings: ConversionSettings) -> dict[str, int]:
    """Write tables, dataset.json and MANIFEST.sha256 from the records of all finished scans.

    Returns:
        Counts of scans, patients, nodules and annotations.
    """
    records = read_records(out)
    scans = pd.DataFrame([record["scan"] for record in records], columns=SCAN_COLUMNS)
    nodules = pd.DataFrame([row for record in records for row in record["nodules"]], columns=NODULE_COLUMNS)
    annotations = pd.DataFrame([row for record in records for row in record["annotations"]], columns=ANNOTATION_COLUMNS)
    folds = committed_folds(scans["patient_id"])
    tables = {"scans": scans, "nodules": nodules, "annotations": annotations, "folds": folds}
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table)
        write_table(out / f"{name}.parquet", table)
    counts = {
        "scans": len(scans),
        "patients": len(folds),
        "holdout_patients": int((folds["fold"] == HOLDOUT).sum()),
        "nodules": len(nodules),
        "annotations": len(annotations),
    }
    write_json(out / "dataset.json", _description(settings, counts, scans, software_of_scans(records)))
    _write_manifest(out, records, [f"{name}.{kind}" for name in tables for kind in ("csv", "parquet")])
    return counts


def _description(
    settings: ConversionSettings, counts: dict[str, int], scans: pd.DataFrame, software_of_scans: dict[str, int]
) -> dict[str, Any]:
    synthetic = scans["manufacturer"].astype(str).map(is_synthetic).sum()
    return {
        "name": "LIDC-IDRI nodules",
        "layout_version": LAYOUT_VERSION,
        "settings": settings.as_dict() | {"duplicates": settings.duplicates},
        "rules": {
            "nodules": "pylidc 0.2.3 default clustering of the readers' annotations, any number of readers",
            "reader_masks": "inside an inclusion contour, its own points excluded, exclusion contours subtracted",
            "mask": "voxels marked by at least the fraction `consensus` of the readers, or by its policy",
            "soft_mask": "share of the readers who marked each voxel, float32 in 0..1",
            "center": "centroid of the consensus mask, RAS mm",
            "diameter_mm": "mean of the readers' largest in-plane diameters between contour points",
            "volume_mm3": "in nodules.csv: the voxels of the consensus mask",
            "contour_volume_mm3": "in annotations.csv: the area inside the reader's contours times their distance, as "
            "pylidc has it; a mask leaves the contours' own points out and is smaller",
            "voi": "voxels within margin_mm of the centre along each axis, where the scan reaches",
            "ct": "HU, int16, native spacing and axes, RAS affine from ImagePosition- and ImageOrientationPatient",
            "padding": "stored padding values and HU of -2000 and below become -1024",
            "non_uniform_z": "laid on a uniform grid of the usual spacing by true slice position: most slices copied, "
            "the rest linear in z; masks are those of the nearest slice",
            "unmeasured_gap": "positions inside a gap of more than 2.5 spacings hold -1024 HU and no mask",
            "duplicate_z": "one is kept of equal slices at one position; where they differ the scan is refused, or the "
            "`first` or `last` by InstanceNumber is kept, as `duplicates` says",
            "folds": f"{FOLDS} folds by patient, stratified by mean malignancy (< 3, = 3, > 3), or `{HOLDOUT}`; "
            "the same for every dataset: preprocessing/lidc/folds/all.csv",
        },
        "counts": counts,
        "synthetic_scans": int(synthetic),
        "software": this_software().as_dict(),
        "software_of_scans": software_of_scans,
        "libraries": {name: version(name) for name in LIBRARIES},
        "source": "LIDC-IDRI, The Cancer Imaging Archive",
        "licence": "CC BY 3.0",
        "citation": CITATION,
    }


def _write_manifest(out: Path, records: Sequence[Record], tables: Sequence[str]) -> None:
    digests = {name: entry["sha256"] for record in records for name, entry in record["files"].items()}
    others = [*tables, "dataset.json", *(f"scans/{record['scan']['scan']}.json" for record in records)]
    write_manifest(out, digests, others)
