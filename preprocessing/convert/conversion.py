"""Convert a download of LIDC-IDRI: many scans in several processes, resumable at any point."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lung_nodule.errors import InputError
from lung_nodule.runtime.lock import only_writer
from lung_nodule.runtime.progress_bar import progress
from preprocessing.convert.coverage import check_complete, coverage
from preprocessing.convert.earlier_scans import check_earlier_scans, refuse_mixture
from preprocessing.convert.layouts import Located, locate
from preprocessing.convert.output_folder import check_output, is_dataset, remove_unfinished_tables
from preprocessing.convert.scan_task import ScanTask, SkippedScan
from preprocessing.convert.skipped import read_skipped, write_skipped
from preprocessing.convert.unfinished import remove_unfinished
from preprocessing.convert.workers import STOPS_EVERY_SCAN, attempt, in_processes
from preprocessing.dataset.assembly import assemble
from preprocessing.dataset.conversion_settings import ConversionSettings
from preprocessing.dataset.scan_records import Record, finished_record, read_records

logger = logging.getLogger(__name__)


def convert(
    dicom_root: Path,
    out: Path,
    *,
    patients: Sequence[str] | None,
    workers: int,
    settings: ConversionSettings,
    scheduler: str | None = None,
    complete: bool = False,
) -> list[SkippedScan]:
    """Convert every scan of the patients found under ``dicom_root``, then assemble the dataset.

    Finished scans are kept, so an interrupted run resumes where it stopped, and patients can be added in later runs:
    the tables hold all finished scans of the folder.

    Args:
        dicom_root: folder of the download; see ``layouts.locate``.
        out: folder of the dataset.
        patients: patients to convert; None for all that are found.
        workers: number of processes on this machine.
        settings: settings of the files.
        scheduler: address of a Dask scheduler whose workers convert the scans instead.
        complete: whether every scan of the patients named, or of the database, must be found and converted.

    Returns:
        The scans that were refused, and what could not be read; they are also listed in ``skipped.csv``.

    Raises:
        InputError: nothing to convert, files in the folder that no conversion made, other settings than those the
            folder was made with, real scans for a synthetic dataset or the reverse, another run in the folder, a
            skipped.csv that cannot be read, no scan that could be used, a scan that is missing (``complete``), or a
            disk that is full or cannot be written.
    """
    with only_writer(out), _stopping_on_a_full_disk(out):
        check_output(out)
        check_earlier_scans(out, settings)
        read_skipped(out)  # an unreadable one is reported now, not after hours of work
        located = locate(dicom_root, patients)
        logger.info("found %s under %s", coverage(located.found, located.wanted), dicom_root)
        if complete:
            have = located.found | _finished(out)
            check_complete(have, located.wanted, where=f"under {dicom_root}", remedy="download them first")
        refuse_mixture(read_records(out), list(located.sources.values()), out)
        refused = _convert_located(located, out, workers=workers, settings=settings, scheduler=scheduler)
        counts = assemble(out, settings)
    records = read_records(out)
    finished = {record["scan"]["scan"] for record in records}
    _report_extra_slices(records, located)
    logger.info("converted %s", coverage(finished, located.wanted))
    logger.info("%s: %s", out, ", ".join(f"{count} {name.replace('_', '-')}" for name, count in counts.items()))
    if complete:
        check_complete(finished, located.wanted, where=f"in {out}", remedy="skipped.csv there says why")
    scans = sum(item.scan is not None for item in refused)
    if scans:
        logger.warning("skipped %d of %d scans: %s says why", scans, len(located.sources), out / "skipped.csv")
    return refused


def _convert_located(
    located: Located, out: Path, *, workers: int, settings: ConversionSettings, scheduler: str | None
) -> list[SkippedScan]:
    """Convert the located scans that are not finished; returns the refusals."""
    tasks = plan(located, out, settings)
    if is_dataset(out):
        remove_unfinished_tables(out)
    remove_unfinished(out)
    waiting = [task for task in tasks if finished_record(out, task.record_path) is None]
    if len(waiting) < len(tasks):
        logger.info("%d of %d scans are already finished", len(tasks) - len(waiting), len(tasks))
    refused = [SkippedScan(None, f"cannot read {path}: {why}") for path, why in located.unreadable.items()]
    for item in refused:
        logger.warning("%s", item.reason)
    refused += _convert_scans(waiting, out, refused, workers=workers, scheduler=scheduler)
    remove_unfinished(out)  # refused scans, and those whose workers died
    finished = _finished(out)
    write_skipped(out, refused, finished=finished)
    if not finished:
        raise InputError(f"none of the {len(tasks)} scans could be converted: the reasons are in {out / 'skipped.csv'}")
    return refused


def plan(located: Located, out: Path, settings: ConversionSettings) -> list[ScanTask]:
    """The tasks for the scans that were located, ordered by scan."""
    return [
        ScanTask(scan, located.sources[scan.name], out, settings)
        for scan in located.wanted
        if scan.name in located.sources
    ]


def _finished(out: Path) -> set[str]:
    """Names of the scans with a record."""
    return {record["scan"]["scan"] for record in read_records(out)}


def _report_extra_slices(records: Sequence[Record], located: Located) -> None:
    """Log each scan of this run whose series has slices that the database does not list."""
    for record in records:
        row = record["scan"]
        if row["scan"] in located.sources and "extra_slices" in row["flags"].split(";"):
            logger.warning("%s: %s", row["scan"], row["remarks"])


@contextmanager
def _stopping_on_a_full_disk(out: Path) -> Iterator[None]:
    """Turn a full or read-only disk into an InputError; files of unfinished scans are removed, finished scans kept."""
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


def _convert_scans(
    tasks: Sequence[ScanTask], out: Path, known: Sequence[SkippedScan], *, workers: int, scheduler: str | None
) -> list[SkippedScan]:
    """Convert scans, adding each refusal to skipped.csv as it occurs; returns the refusals ordered by scan."""
    refused: list[SkippedScan] = []
    with progress(len(tasks), description="convert", unit="scan") as step:
        for outcome in _outcomes(tasks, workers, scheduler):
            if outcome is not None:
                logger.warning("skipped %s: %s", outcome.name, outcome.reason)
                refused.append(outcome)
                write_skipped(out, [*known, *refused])
            step()
    return sorted(refused, key=lambda item: item.name)


def _outcomes(tasks: Sequence[ScanTask], workers: int, scheduler: str | None) -> Iterable[SkippedScan | None]:
    """Convert scans in this process, in several, or on a cluster, yielding each outcome as it comes."""
    if scheduler is not None:
        from preprocessing.convert.scheduler import on_cluster

        return on_cluster(tasks, scheduler)
    if workers == 1 or len(tasks) < 2:
        return map(attempt, tasks)
    return in_processes(tasks, workers)
