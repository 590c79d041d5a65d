"""A TCIA download of LIDC-IDRI to the dataset's layout: many scans, several processes, work that can be interrupted."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from lung_nodule.io import InputError

from . import database
from .dataset import assemble, check_settings, write_refusals
from .scan_task import Refused, ScanTask, convert_scan, finished_record
from .settings import Settings
from .sources import check_patients_have_files, patient_folders

logger = logging.getLogger(__name__)


def convert(
    dicom_root: Path, out: Path, *, patients: Sequence[str] | None, workers: int, settings: Settings
) -> list[Refused]:
    """Convert every scan of the patients found under ``dicom_root``, then assemble the dataset.

    Scans that are finished already are kept as they are, so a run that was cut off is taken up where it stopped, and
    patients can be added one after the other: the tables hold all finished scans of the folder.

    Args:
        dicom_root: folder that holds the patients' folders.
        out: the dataset's folder.
        patients: only these; None for all that are found.
        workers: number of processes.
        settings: what the files depend on.

    Returns:
        The scans that were refused; they are also listed in ``skipped.csv``.

    Raises:
        InputError: nothing to convert, other settings than those the folder was made with, or no scan could be used.
    """
    tasks = plan(dicom_root, out, patients=patients, settings=settings)
    check_settings(out, settings)
    waiting = [task for task in tasks if finished_record(task) is None]
    if len(waiting) < len(tasks):
        logger.info("%d of %d scans are finished already", len(tasks) - len(waiting), len(tasks))
    refused = []
    with logging_redirect_tqdm(), tqdm(total=len(waiting), desc="convert", unit="scan") as progress:
        for outcome in _outcomes(waiting, workers):
            if outcome is not None:
                logger.warning("skipped %s: %s", outcome.scan.name, outcome.reason)
                refused.append(outcome)
            progress.update()
    refused.sort(key=lambda item: item.scan.name)
    write_refusals(out, refused)
    if len(refused) == len(tasks):
        raise InputError(f"none of the {len(tasks)} scans could be converted: the reasons are in {out / 'skipped.csv'}")
    counts = assemble(out, settings)
    logger.info("%s: %s", out, ", ".join(f"{count} {name.replace('_', '-')}" for name, count in counts.items()))
    return refused


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


def _outcomes(tasks: Sequence[ScanTask], workers: int) -> Iterator[Refused | None]:
    """Convert scans in this process or in several, yielding each outcome as it comes."""
    if workers == 1 or len(tasks) < 2:
        yield from map(convert_scan, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
        futures = [pool.submit(convert_scan, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process was killed (out of memory?): run the same command again with fewer --workers, "
                "finished scans are kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
