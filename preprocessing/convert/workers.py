"""Convert scans in several processes of this machine; a process that dies affects no other scan."""

from __future__ import annotations

import errno
import os
import traceback
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

from lung_nodule.errors import InputError
from lung_nodule.runtime.processes import process_pool
from preprocessing.convert.scan_task import ScanTask, SkippedScan, convert_scan

STOPS_EVERY_SCAN = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def attempt(task: ScanTask) -> SkippedScan | None:
    """Convert one scan; any error becomes a one-line refusal, so that the run continues with the others.

    Raises:
        OSError: the disk is full or read-only, which affects every other scan too.
    """
    try:
        return convert_scan(task)
    except InputError as error:
        return SkippedScan(task.scan, str(error))
    except MemoryError:
        return SkippedScan(task.scan, "not enough memory: run again with fewer --workers")
    except OSError as error:
        if error.errno in STOPS_EVERY_SCAN:
            raise
        return SkippedScan(task.scan, f"{error.strerror or error}: {error.filename or ''}")
    except Exception as error:
        return SkippedScan(task.scan, _unexpected(error))


def _unexpected(error: Exception) -> str:
    at = traceback.extract_tb(error.__traceback__)[-1]
    message = " ".join(str(error).split())
    return f"unexpected {type(error).__name__} at {os.path.basename(at.filename)}:{at.lineno}: {message}"


def in_processes(tasks: Sequence[ScanTask], workers: int) -> Iterator[SkippedScan | None]:
    """Convert scans in spawned processes, yielding each outcome as it comes.

    If a process dies (killed when out of memory, for instance), the scans in progress are retried one by one, each in a
    process of its own; a scan whose process dies again is refused.
    """
    queue = deque(tasks)
    while queue:
        for task in (yield from _until_a_process_dies(queue, min(workers, len(queue)))):
            yield _alone(task)


def _until_a_process_dies(queue: deque[ScanTask], workers: int) -> Generator[SkippedScan | None, None, list[ScanTask]]:
    """Work through the queue; if a process dies, return early with the scans in progress."""
    running: dict[Future[SkippedScan | None], ScanTask] = {}
    with process_pool(workers) as pool:
        while queue or running:
            # At most one scan per process, so that those in progress are known.
            while queue and len(running) < workers:
                try:
                    future = pool.submit(attempt, queue[0])
                except BrokenProcessPool:
                    return list(running.values())
                running[future] = queue.popleft()
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            dead = []
            for future in finished:
                task = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    dead.append(task)
            if dead:
                return dead + list(running.values())
    return []


def _alone(task: ScanTask) -> SkippedScan | None:
    with process_pool(1) as pool:
        try:
            return pool.submit(attempt, task).result()
        except BrokenProcessPool:
            return SkippedScan(
                task.scan, "its process was killed twice (out of memory?): run again with fewer --workers"
            )
