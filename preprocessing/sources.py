"""Where a patient's DICOM files lie under the folder that the user gave."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lung_nodule.io import InputError, SeriesFiles, find_series, format_positions

from .records import ScanRecord

PATIENT_FOLDER = re.compile(r"LIDC-IDRI-\d{4}")
DEPTH = 3  # folders above the patients: a TCIA manifest's folder and the collection's
SAME_Z_MM = 0.05


def patient_folders(root: Path) -> dict[str, list[Path]]:
    """Folders named after a patient (LIDC-IDRI-0006), at most three levels below ``root`` or ``root`` itself.

    Raises:
        InputError: the folder does not exist, is a file, is empty, or holds no such folder.
    """
    if root.is_file():
        raise InputError(f"DICOM root {root} is a file: give the folder that holds LIDC-IDRI-0001, LIDC-IDRI-0002, ...")
    if not root.is_dir():
        raise InputError(f"no such DICOM root: {root} (give the folder that holds LIDC-IDRI-0001, LIDC-IDRI-0002, ...)")
    folders: dict[str, list[Path]] = defaultdict(list)
    empty = True
    for folder, names, files in os.walk(root, followlinks=True):
        here = Path(folder)
        empty &= not names and not files
        if PATIENT_FOLDER.fullmatch(here.name):
            folders[here.name].append(here)
            names.clear()
        elif len(here.relative_to(root).parts) >= DEPTH:
            names.clear()
        names.sort()
    if not folders:
        what = "is empty" if empty else "holds no folder named like LIDC-IDRI-0006"
        raise InputError(f"DICOM root {root} {what}: give the folder of a TCIA download of LIDC-IDRI")
    return dict(folders)


def check_patients_have_files(patients: Sequence[str], folders: dict[str, list[Path]], root: Path) -> None:
    """Raise InputError for named patients without a folder or with no file in it."""
    absent = [
        patient
        for patient in patients
        if not any(files for folder in folders.get(patient, []) for _, _, files in os.walk(folder, followlinks=True))
    ]
    if absent:
        raise InputError(f"no files for {', '.join(absent)} under {root}: download the patient or leave the name out")


def series_of(scan: ScanRecord, folders: Sequence[Path]) -> SeriesFiles:
    """The files of a scan's CT series, complete by the database's slice positions.

    Raises:
        InputError: no file of the series is there, or slices are missing (their positions are named).
    """
    candidates = [series for folder in folders for series in find_series(folder, keep_headers=True)]
    found = [series for series in candidates if series.series_uid == scan.series_uid]
    if not found:
        raise InputError(f"no file of its CT series {scan.series_uid}: download the series")
    files = SeriesFiles(
        patient_id=scan.patient_id,
        study_uid=scan.study_uid,
        series_uid=scan.series_uid,
        paths=tuple(path for series in found for path in series.paths),
        z_positions=np.concatenate([series.z_positions for series in found]),
        headers=tuple(header for series in found for header in series.headers),
    )
    distance = np.abs(scan.slice_positions[:, None] - files.z_positions[None, :]).min(axis=1)
    missing = scan.slice_positions[distance > SAME_Z_MM]
    if len(missing):
        raise InputError(f"missing slices at z = {format_positions(missing)}: download the series again")
    return files
