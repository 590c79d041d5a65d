"""Run cells one by one, in parallel on this machine or on a Dask cluster; a failed cell does not affect the others."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from lung_nodule.benchmark.cells.cell import RECORD, Cell, CellFailure, Step
from lung_nodule.benchmark.cells.plan import ROOT
from lung_nodule.benchmark.cells.process_group import StoppedError, run_command
from lung_nodule.errors import InputError
from lung_nodule.runtime.lock import only_writer
from lung_nodule.runtime.progress_bar import progress
from lung_nodule.runtime.software import this_software

logger = logging.getLogger(__name__)

MONAI = ("-m", "monai.bundle", "run")
Run = Callable[[Cell, threading.Event], CellFailure | None]


def run_cells(cells: Sequence[Cell], *, processes: int = 1, scheduler: str | None = None) -> list[CellFailure]:
    """Run the cells that are not done; finished cells are kept, stopped ones are resumed.

    Args:
        cells: all cells of the benchmark.
        processes: number of parallel cells on this machine.
        scheduler: address of a Dask scheduler, whose workers run the cells instead.

    Returns:
        The cells that failed, with their reasons.

    Raises:
        InputError: a finished cell was made with other settings, or the cluster cannot be used.
    """
    waiting = [cell for cell in cells if not cell.is_done()]
    if len(waiting) < len(cells):
        logger.info("%d of %d cells are already finished", len(cells) - len(waiting), len(cells))
    if scheduler is not None:
        outcomes = _on_cluster(waiting, scheduler)
    else:
        outcomes = side_by_side(waiting, processes, _with_threads(threads_of_each(processes)))
    failed = []
    with progress(len(waiting), description="cells", unit="cell") as step:
        for outcome in outcomes:
            if outcome is not None:
                failed.append(outcome)
                logger.error("failed: %s: %s", outcome.cell, outcome.reason)
            step()
    return failed


def threads_of_each(processes: int) -> str:
    """Number of threads of each parallel cell: its share of the cores, unless OMP_NUM_THREADS is set."""
    share = max(1, len(os.sched_getaffinity(0)) // processes)
    return os.environ.get("OMP_NUM_THREADS", str(share))


def side_by_side(cells: Sequence[Cell], processes: int, run: Run) -> Iterator[CellFailure | None]:
    """Run cells in parallel, one thread per command; closing this generator ends the running commands."""
    stop = threading.Event()
    with ThreadPoolExecutor(processes) as pool:
        futures = [pool.submit(run, cell, stop) for cell in cells]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _with_threads(threads: str) -> Run:
    return lambda cell, stop: run_cell(cell, environment={"OMP_NUM_THREADS": threads}, stop=stop)


def _on_cluster(cells: Sequence[Cell], address: str) -> Iterator[CellFailure | None]:
    """Run cells on a Dask cluster; the worker's environment sets the number of threads of a cell."""
    from lung_nodule.runtime.cluster import on_workers

    folders = {folder for cell in cells for folder in (cell.dataset_dir, cell.benchmark)}
    return on_workers(run_cell, cells, address, folders=folders, killed=lambda cell, why: CellFailure(cell.name, why))


def run_cell(
    cell: Cell, *, environment: Mapping[str, str] | None = None, stop: threading.Event | None = None
) -> CellFailure | None:
    """Run a cell's steps, then record that it is done.

    Args:
        cell: cell to run.
        environment: environment variables of its commands in addition to those of this process.
        stop: event that ends the cell early.

    Returns:
        The failure; None if the cell is done.
    """
    began = time.monotonic()
    stop = stop or threading.Event()
    try:
        with only_writer(cell.folder):
            (cell.folder / RECORD).unlink(missing_ok=True)
            cell.begin()
            for step in cell.steps:
                reason = _run_step(cell, step, {**os.environ, **(environment or {})}, stop)
                if reason is not None:
                    return CellFailure(cell.name, f"{step.name}: {reason} ({cell.shown_log} has the rest)")
            cell.finish(software=this_software().name, minutes=round((time.monotonic() - began) / 60, 2))
    except StoppedError:
        return CellFailure(cell.name, "stopped; the same command continues it")
    except (InputError, OSError) as error:
        return CellFailure(cell.name, " ".join(str(error).split()))
    return None


def _run_step(cell: Cell, step: Step, environment: Mapping[str, str], stop: threading.Event) -> str | None:
    """Run a step; return the reason if it failed."""
    if stop.is_set():
        raise StoppedError
    step.leaves.parent.mkdir(parents=True, exist_ok=True)
    with cell.log.open("ab") as log:
        log.write(f"== {step.name}: python {' '.join((*MONAI, *step.arguments))}\n".encode())
        log.flush()
        start = log.tell()
        command = [sys.executable, *MONAI, *step.arguments]
        status = run_command(command, log=log, folder=ROOT, environment=environment, stop=stop)
    if status == 0 and step.leaves.is_file():
        return None
    return last_error(cell.log, start) or f"ended with status {status} and no message"


def last_error(log: Path, start: int) -> str:
    """Last line of a log after a position that reports an error; otherwise the last line."""
    with log.open("rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(error:|\w*(Error|Exception|Killed)\b)", line)]
    return (errors or lines or [""])[-1]
