"""A process that is killed when its parent dies, even by SIGKILL (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def dies_with_parent(command: Sequence[str]) -> list[str]:
    """The command that runs ``command`` in a process that ends with this one's thread."""
    return [sys.executable, "-S", "-E", __file__, str(os.getpid()), *command]


def _run(parent: str, *command: str) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL))
    if os.getppid() != int(parent):
        sys.exit("the process that was to be followed has ended")
    os.execv(command[0], command)


if __name__ == "__main__":
    _run(*sys.argv[1:])
