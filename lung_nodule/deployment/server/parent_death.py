"""Run a process that is killed with its process group when its parent dies, even by SIGKILL (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
_POLL_S = 0.2


def dies_with_parent(command: Sequence[str]) -> list[str]:
    """Wrap a command, the leader of a process group, so that it ends with the calling thread.

    When it has ended, a child process kills the rest of the group: a Triton stub waits forever if the server was killed
    while holding a shared lock.
    """
    return [sys.executable, "-S", "-E", __file__, str(os.getpid()), *command]


def _run(parent: str, *command: str) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL))
    if os.getppid() != int(parent):
        sys.exit("the parent process has already ended")
    leader = os.getpid()
    if not os.fork():
        _kill_group_after(leader)
    os.execv(command[0], command)


def _kill_group_after(leader: int) -> None:
    while os.getppid() == leader:
        time.sleep(_POLL_S)
    os.killpg(leader, signal.SIGKILL)  # includes this process


if __name__ == "__main__":
    _run(*sys.argv[1:])
