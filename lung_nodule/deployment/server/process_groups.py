"""End a process group: a server and the processes that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import time

PATIENCE_S = 5.0


def kill_group(group: int) -> None:
    """Kill the remaining processes of a group, such as stubs whose server is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def wait_for_group(group: int) -> None:
    """Wait until all processes of a killed group are gone, at most :data:`PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)
