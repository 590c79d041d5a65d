"""Tasks on a Dask cluster of several machines, for conversion and benchmark.

Every machine must see the files under the same paths (a shared file system); only the tasks are sent. The scheduler and
its workers are started by the user:

    dask scheduler
    dask worker tcp://host:8786 --nworkers 8 --nthreads 1      on every machine
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lung_nodule.errors import InputError

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger(__name__)

CONNECT_S, POLL_S, WITHOUT_WORKERS_S = 20, 5, 120
KILLED = "its workers were killed repeatedly (out of memory?)"

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def on_workers(
    work: Callable[[Task], Outcome],
    tasks: Sequence[Task],
    address: str,
    *,
    folders: Iterable[Path],
    killed: Callable[[Task, str], Outcome],
) -> Iterator[Outcome]:
    """Do tasks on a Dask cluster, yielding each outcome as it comes.

    A task whose worker dies is passed to another worker; after several failures (Dask's ``allowed-failures``, 3) its
    outcome is that of ``killed``.

    Args:
        work: function that does one task; it and the task must be picklable.
        tasks: tasks with absolute paths, as workers have other working directories.
        address: address of the scheduler, ``tcp://host:port``.
        folders: folders that every worker must see.
        killed: function that gives the outcome of a task whose workers died, from the task and the reason.

    Raises:
        InputError: ``distributed`` is not installed, the scheduler cannot be reached, or workers are missing or unfit.
    """
    if not tasks:
        return
    with _connect(address) as client:
        _check_workers(client, address, set(folders))
        waiting = {client.submit(work, task, pure=False): task for task in tasks}
        while waiting:
            for future in _finished(client, list(waiting), address):
                task = waiting.pop(future)
                yield _outcome(future, lambda task=task: killed(task, KILLED))
                future.release()


def _connect(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            '--scheduler needs Dask: run pip install -e ".[cluster]" in the repository, on every machine'
        ) from error
    try:
        return Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler at {address}: start one with `dask scheduler`") from error


def _check_workers(client: Client, address: str, folders: set[Path]) -> None:
    """Check that each worker has one thread and sees the folders."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise InputError(f"the scheduler at {address} has no worker: `dask worker {address} --nworkers 8 --nthreads 1`")
    threaded = sorted(name for name, worker in workers.items() if worker["nthreads"] != 1)
    if threaded:
        raise InputError(f"workers with several threads ({', '.join(threaded)}): start them with --nthreads 1")
    try:
        unseen = cast(dict[str, Any], client.run(_unseen, sorted(folders)))
        absent = {name: seen for name, seen in unseen.items() if seen}
    except ImportError as error:
        raise InputError(f"a worker at {address} cannot import {error.name}: install this package there") from error
    for name, (host, folder) in sorted(absent.items()):
        raise InputError(f"the worker {name} on {host} does not see {folder}: every machine must, under the same path")
    logger.info("%d workers at %s", len(workers), address)


def _unseen(folders: Sequence[Path]) -> tuple[str, str] | None:
    """Runs on a worker: its host and the first folder that it does not see."""
    return next(((socket.gethostname(), str(folder)) for folder in folders if not folder.is_dir()), None)


def _finished(client: Client, futures: list[Future], address: str) -> set[Future]:
    """Wait until some are done.

    Raises:
        InputError: there was no worker for two minutes, or the connection to the scheduler was lost.
    """
    from distributed import CancelledError, wait

    alive = time.monotonic()
    while True:
        try:
            waited = cast(Any, wait(futures, timeout=POLL_S, return_when="FIRST_COMPLETED"))
            return set(waited.done)
        except CancelledError as error:
            raise InputError(
                f"lost the scheduler at {address}: finished work is kept, start it and run the same command again"
            ) from error
        except TimeoutError:
            if client.status == "running" and client.scheduler_info()["workers"]:
                alive = time.monotonic()
            elif time.monotonic() - alive > WITHOUT_WORKERS_S:
                raise InputError(
                    f"no worker is left at {address}: finished work is kept, run the same command again"
                ) from None


def _outcome(future: Future, killed: Callable[[], Outcome]) -> Outcome:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        return killed()
