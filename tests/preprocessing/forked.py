"""Worker processes forked from one that has imported the conversion, which a spawned one imports for 1.5 s.

Their server is one of its own: that of ``tests/forked.py`` must not have imported our library.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.popen_forkserver import Popen
from unittest.mock import patch

from lung_nodule.runtime.processes import _initialize

_SERVER = forkserver.ForkServer()
_SERVER.set_forkserver_preload(["preprocessing.convert.workers"])


class _ForkedByServer(Popen):
    def _launch(self, process_obj: ForkServerProcess) -> None:
        with patch.object(forkserver, "connect_to_new_process", _SERVER.connect_to_new_process):
            super()._launch(process_obj)


class _Process(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: ForkServerProcess) -> _ForkedByServer:
        return _ForkedByServer(process_obj)


class _Context(ForkServerContext):
    Process = _Process


def process_pool(workers: int) -> ProcessPoolExecutor:
    """As ``lung_nodule.runtime.processes.process_pool``, with forked processes instead of spawned ones."""
    return ProcessPoolExecutor(workers, mp_context=_Context(), initializer=_initialize)
