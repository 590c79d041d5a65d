"""The candidates of one scan: which are written as a VOI, their files, and the record of a finished scan."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lung_nodule.holdout import HOLDOUT
from lung_nodule.io import cut_voi, read_nifti, voi_edge_mm, write_json, write_nifti
from preprocessing.candidates.candidate_settings import CandidateSettings
from preprocessing.candidates.luna16_tables import CENTER
from preprocessing.dataset.scan_records import as_written, fingerprint

Record = dict[str, Any]
FOLDER = "candidates"


@dataclass(frozen=True, eq=False)
class CandidateTask:
    """Everything needed to write the candidates of one scan.

    Attributes:
        dataset: folder that ``convert`` wrote.
        scan: name of the scan, e.g. ``LIDC-IDRI-0006_s0``.
        series_uid: UID of the scan's series.
        fold: fold as text, 0-9 or ``holdout``.
        ct: path of the whole CT, relative to the dataset.
        candidates: table with ``row``, the centre in RAS mm and ``label``.
        settings: settings that the files depend on.
        sources: SHA-256 of the candidates' table and of the CT.
    """

    dataset: Path
    scan: str
    series_uid: str
    fold: str
    ct: str
    candidates: pd.DataFrame
    settings: CandidateSettings
    sources: dict[str, str]

    @property
    def record_path(self) -> Path:
        """The record; it exists only when every file of the scan's candidates is complete."""
        return self.dataset / FOLDER / "scans" / f"{self.scan}.json"

    def made_with(self) -> dict[str, Any]:
        """The settings and sources of the files; a record with others does not describe these files."""
        return {"settings": self.settings.as_dict(), "sources": self.sources, "fold": self.fold}


def candidate_id(scan: str, row: int) -> str:
    """``<scan>_c<row of the table, six digits>``."""
    return f"{scan}_c{row:06d}"


def voi_path(scan: str, row: int) -> str:
    """The VOI of a candidate, relative to the dataset."""
    return f"{FOLDER}/voi/{candidate_id(scan, row)}_ct.nii.gz"


def drawn_rows(task: CandidateTask, inside: np.ndarray) -> list[int]:
    """Rows of the candidates that are written as a VOI: every nodule, and non-nodules drawn at random.

    The selection depends only on the seed, the series and its candidates, so further scans do not change it. Patients
    of the hold-out get no VOIs: these are for training.

    Args:
        task: task of the scan.
        inside: bool [candidates], whether each lies inside the CT.
    """
    if task.fold == HOLDOUT:
        return []
    table = task.candidates[inside]
    nodules = table.loc[table["label"] == 1, "row"].tolist()
    others = table.loc[table["label"] == 0, "row"].to_numpy()
    wanted = task.settings.negatives_per_scan
    if wanted is not None and wanted < len(others):
        seed = int.from_bytes(hashlib.sha256(f"{task.settings.seed} {task.series_uid}".encode()).digest()[:8])
        others = np.random.default_rng(seed).choice(others, size=wanted, replace=False)
    return sorted([*nodules, *others.tolist()])


def finished_record(task: CandidateTask) -> Record | None:
    """The record of a scan whose candidates were already written with these settings and sources; else None."""
    path = task.record_path
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        same = {key: record[key] for key in task.made_with()} == task.made_with()
        files = dict(record["files"])
        complete = {"outside", "drawn", "spacing"} <= set(record)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    written = path.stat().st_mtime_ns
    intact = same and complete and all(as_written(task.dataset / name, entry, written) for name, entry in files.items())
    return record if intact else None


def write_scan(task: CandidateTask) -> Record:
    """Read the CT once and write the VOIs of its candidates, then the record.

    Raises:
        InputError: the CT is missing or cannot be read.
    """
    task.record_path.unlink(missing_ok=True)
    volume = read_nifti(task.dataset / task.ct).canonical()
    centers = task.candidates[CENTER].to_numpy(dtype=float)
    index = volume.to_index(centers)
    inside = ((index >= -0.5) & (index <= np.array(volume.shape) - 0.5)).all(axis=1)
    drawn = drawn_rows(task, inside)
    center_of = dict(zip(task.candidates["row"].tolist(), centers, strict=True))
    edge_mm = voi_edge_mm(task.settings.patch_mm)
    for row in drawn:
        cut = cut_voi(volume, candidate_id(task.scan, row), center_of[row], edge_mm=edge_mm)
        write_nifti(task.dataset / voi_path(task.scan, row), cut.volume, dtype=np.int16)
    record = {
        **task.made_with(),
        "spacing": [round(float(mm), 6) for mm in volume.spacing],
        "outside": task.candidates.loc[~inside, "row"].tolist(),
        "drawn": drawn,
        "files": {voi_path(task.scan, row): fingerprint(task.dataset / voi_path(task.scan, row)) for row in drawn},
    }
    write_json(task.record_path, record)
    return record
