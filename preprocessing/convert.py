"""A TCIA download of LIDC-IDRI to the dataset's layout: many scans, several processes, work that can be interrupted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lung_nodule.io import InputError

from . import database
from .dataset import assemble, check_earlier_scans, read_records
from .ledger import finished_record
from .lock import only_writer
from .output_folder import check_output, is_dataset, remove_unfinished_tables
from .progress import progress
from .scan_task import Refused, ScanTask
from .settings import Settings
from .skipped import read_skipped, write_skipped
from .sources import check_patients_have_files, patient_folders
from .unfinished import remove_unfinished
from .workers import STOPS_EVERY_SCAN, attempt, in_processes

logger = logging.getLogger(__name__)


def convert(
    dicom_root: Path,
    out: Path,
    *,
    patients: Sequence[str] | None,
    workers: int,
    settings: Settings,
    scheduler: str | None = None,
) -> list[Refused]:
    """Convert every scan of the patients found under ``dicom_root``, then assemble the dataset.

    Scans that are finished already are kept as they are, so a run that was cut off is taken up where it stopped, and
    patients can be added one after the other: the tables hold all finished scans of the folder.

    Args:
        dicom_root: folder that holds the patients' folders.
        out: the dataset's folder.
        patients: only these; None for all that are found.
        workers: number of processes on this machine.
        settings: what the files depend on.
        scheduler: address of a Dask scheduler whose workers convert the scans instead.

    Returns:
        The scans that were refused; they are also listed in ``skipped.csv``.

    Raises:
        InputError: nothing to convert, files in the folder that no conversion made, other settings than those the
            folder was made with, another run in the folder, a skipped.csv that cannot be read, no scan that could be
            used, or a disk that is full or cannot be written.
    """
    check_output(out)
    tasks = plan(dicom_root, out, patients=patients, settings=settings)
    with only_writer(out), _stopping_on_a_full_disk(out):
        check_earlier_scans(out, settings)
        read_skipped(out)  # one that cannot be read is told now, not after hours of work
        if is_dataset(out):
            remove_unfinished_tables(out)
        remove_unfinished(out)
        waiting = [task for task in tasks if finished_record(out, task.record_path) is None]
        if len(waiting) < len(tasks):
            logger.info("%d of %d scans are finished already", len(tasks) - len(waiting), len(tasks))
        refused = _convert_scans(waiting, out, workers=workers, scheduler=scheduler)
        remove_unfinished(out)  # refused scans, and those whose workers died
        finished = {record["scan"]["scan"] for record in read_records(out)}
        write_skipped(out, refused, finished=finished)
        if not finished:
            raise InputError(
                f"none of the {len(tasks)} scans could be converted: the reasons are in {out / 'skipped.csv'}"
            )
        counts = assemble(out, settings)
    logger.info("%s: %s", out, ", ".join(f"{count} {name.replace('_', '-')}" for name, count in counts.items()))
    if refused:
        logger.warning("skipped %d of %d scans: %s says why", len(refused), len(tasks), out / "skipped.csv")
    return refused


@contextmanager
def _stopping_on_a_full_disk(out: Path) -> Iterator[None]:
    """One line where nothing more can be written; what unfinished scans left is removed, finished ones stay."""
    try:
        yield
    except OSError as error:
        if error.errno not in STOPS_EVERY_SCAN:
            raise
        with suppress(OSError):
            remove_unfinished(out)
            remove_unfinished_tables(out)
        raise InputError(
            f"cannot write to {out}: {error.strerror}; finished scans are kept: make room, then run the same command "
            "again, or give --out on another disk"
        ) from error


def _convert_scans(tasks: Sequence[ScanTask], out: Path, *, workers: int, scheduler: str | None) -> list[Refused]:
    """Convert scans and note each refusal at once, ordered by scan in the end."""
    refused: list[Refused] = []
    with progress(len(tasks), description="convert", unit="scan") as step:
        for outcome in _outcomes(tasks, workers, scheduler):
            if outcome is not None:
                logger.warning("skipped %s: %s", outcome.scan.name, outcome.reason)
                refused.append(outcome)
                write_skipped(out, refused)
            step()
    return sorted(refused, key=lambda item: item.scan.name)


def _outcomes(tasks: Sequence[ScanTask], workers: int, scheduler: str | None) -> Iterable[Refused | None]:
    """Convert scans in this process, in several, or on a cluster, yielding each outcome as it comes."""
    if scheduler is not None:
        from .scheduler import on_cluster

        return on_cluster(tasks, scheduler)
    if workers == 1 or len(tasks) < 2:
        return map(attempt, tasks)
    return in_processes(tasks, workers)


def plan(dicom_root: Path, out: Path, *, patients: Sequence[str] | None, settings: Settings) -> list[ScanTask]:
    """The scans to convert: all of the database's scans of the patients that are named, or else found."""
    folders = patient_folders(dicom_root)
    if patients is not None:
        wanted = database.scans(patients)
        check_patients_have_files(patients, folders, dicom_root)
    else:
        wanted = [scan for scan in database.scans() if scan.patient_id in folders]
        strangers = sorted(set(folders) - {scan.patient_id for scan in wanted})
        if strangers:
            logger.warning("passed over %s: not in the LIDC-IDRI database", ", ".join(strangers))
    if not wanted:
        raise InputError(f"no patient of LIDC-IDRI under {dicom_root}: give the folder of a TCIA download")
    return [ScanTask(scan, tuple(folders[scan.patient_id]), out, settings) for scan in wanted]
