"""A process that is killed when its parent dies, even by SIGKILL, and its process group with it (Linux)."""

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
    """The command that runs ``command``, the leader of a process group, in a process that ends with this one's thread.

    When it has ended, a child of it kills what is left of the group: one of Triton's stubs waits for ever where the
    server was killed while it held a lock that both share.
    """
    return [sys.executable, "-S", "-E", __file__, str(os.getpid()), *command]


def _run(parent: str, *command: str) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL))
    if os.getppid() != int(parent):
        sys.exit("the process that was to be followed has ended")
    leader = os.getpid()
    if not os.fork():
        _kill_group_after(leader)
    os.execv(command[0], command)


def _kill_group_after(leader: int) -> None:
    while os.getppid() == leader:
        time.sleep(_POLL_S)
    os.killpg(leader, signal.SIGKILL)  # this process is of the group


if __name__ == "__main__":
    _run(*sys.argv[1:])
