"""Worker processes that end with the run that started them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor


def process_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of spawned processes that ignore Ctrl-C and exit when their parent does, even if it is killed."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_initialize)


def _initialize() -> None:
    """In a new process: leave Ctrl-C to the parent, and watch for the parent's end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Without this, a worker would wait forever, or go on writing, after its parent was killed with SIGKILL."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a worker alone"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
