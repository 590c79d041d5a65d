"""Write the folder ``candidates/`` of a converted dataset from LUNA16's tables, scan by scan."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lung_nodule.errors import InputError
from lung_nodule.holdout import HOLDOUT, holdout_patients
from lung_nodule.io import file_sha256, read_table
from lung_nodule.runtime.lock import only_writer
from lung_nodule.runtime.progress_bar import progress
from preprocessing.candidates.candidate_folder import check_folder, remove_unfinished
from preprocessing.candidates.candidate_scan import FOLDER, CandidateTask, Record, finished_record, write_scan
from preprocessing.candidates.candidate_settings import CandidateSettings
from preprocessing.candidates.candidate_tables import write_folder
from preprocessing.candidates.luna16_folds import scan_folds
from preprocessing.candidates.luna16_tables import Source, read_candidates, read_findings, read_subsets

logger = logging.getLogger(__name__)

SCAN_COLUMNS = ["scan", "patient_id", "series_uid", "slice_thickness_mm", "ct"]


@dataclass(frozen=True)
class Tables:
    """Paths of LUNA16's tables; ``subsets`` is a table or a folder, the last two are optional."""

    candidates: Path
    subsets: Path
    annotations: Path | None = None
    excluded: Path | None = None


def write_candidates(dataset: Path, tables: Tables, *, settings: CandidateSettings) -> list[str]:
    """Write ``<dataset>/candidates``: VOIs, candidates.csv, nodules.csv, scans.csv, left_out.csv, candidates.json.

    Each CT is read once. Scans whose candidates were already written from the same tables with the same settings are
    kept, so an interrupted run resumes where it stopped.

    Args:
        dataset: folder that ``convert`` wrote.
        tables: LUNA16's tables.
        settings: settings of the files.

    Returns:
        Names of the scans whose CT could not be read; also listed in ``left_out.csv``.

    Raises:
        InputError: a table is missing or broken, the folder is not a dataset, or no candidate is of any of its scans.
    """
    scans = _dataset_scans(dataset)
    check_folder(dataset)
    source = Source(
        candidates=read_candidates(tables.candidates),
        findings=read_findings(tables.annotations, tables.excluded),
        subsets=read_subsets(tables.subsets),
        files={
            name: {"name": path.name, "sha256": file_sha256(path)}
            for name, path in vars(tables).items()
            if path is not None and path.is_file()
        },
    )
    chosen = scan_folds(scans, source.subsets, holdout=_held_out(dataset))
    if not source.candidates["series_uid"].isin(chosen["series_uid"]).any():
        raise InputError(
            f"none of the {len(source.candidates)} candidates of {tables.candidates} is of a scan that is both in "
            f"{dataset} ({len(scans)} scans) and in {tables.subsets} ({len(source.subsets)} series)"
        )
    tasks = _tasks(dataset, chosen, source, settings)
    with only_writer(dataset):
        records, refused = _write_scans(tasks)
        counts = write_folder(dataset, scans, chosen, source, records=records, refused=refused, settings=settings)
    logger.info("%s: %s", dataset / FOLDER, ", ".join(f"{count} {name}" for name, count in counts.items()))
    return sorted(refused)


def _dataset_scans(dataset: Path) -> pd.DataFrame:
    if not (dataset / "dataset.json").is_file() or not (dataset / "scans.csv").is_file():
        raise InputError(
            f"no dataset with whole CTs at {dataset} (it needs dataset.json and scans.csv): make one with "
            "`python -m preprocessing convert`"
        )
    return read_table(dataset / "scans.csv", SCAN_COLUMNS)


def _held_out(dataset: Path) -> frozenset[str]:
    """The patients of the hold-out list, and those that the dataset's folds mark as hold-out."""
    folds = read_table(dataset / "folds.csv", ["patient_id", "fold"])
    return holdout_patients() | frozenset(folds.loc[folds["fold"] == HOLDOUT, "patient_id"])


def _tasks(dataset: Path, chosen: pd.DataFrame, source: Source, settings: CandidateSettings) -> list[CandidateTask]:
    table = source.files["candidates"]["sha256"]
    return [
        CandidateTask(
            dataset=dataset,
            scan=scan["scan"],
            series_uid=scan["series_uid"],
            fold=scan["fold"],
            ct=scan["ct"],
            candidates=source.candidates_of(scan["series_uid"]),
            settings=settings,
            sources={"table": table, "ct": _ct_sha256(dataset, scan["scan"], scan["ct"])},
        )
        for scan in chosen.to_dict("records")
    ]


def _ct_sha256(dataset: Path, scan: str, ct: str) -> str:
    """SHA-256 of the CT from the scan's record; empty if there is no record (the CT was added by hand)."""
    try:
        record = json.loads((dataset / "scans" / f"{scan}.json").read_text(encoding="utf-8"))
        return str(record["files"][ct]["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _write_scans(tasks: Sequence[CandidateTask]) -> tuple[dict[str, Record], dict[str, str]]:
    """The records of the scans that were written, and the reasons for the others."""
    found = {task.scan: finished_record(task) for task in tasks}
    records = {scan: record for scan, record in found.items() if record is not None}
    refused: dict[str, str] = {}
    remove_unfinished(tasks, records)
    waiting = [task for task in tasks if task.scan not in records]
    if records:
        logger.info("the candidates of %d of %d scans are already written", len(records), len(tasks))
    with progress(len(waiting), description="candidates", unit="scan") as step:
        for task in waiting:
            try:
                records[task.scan] = write_scan(task)
            except InputError as error:
                refused[task.scan] = str(error)
                logger.warning("left out %s: %s", task.scan, refused[task.scan])
            step()
    return records, refused
