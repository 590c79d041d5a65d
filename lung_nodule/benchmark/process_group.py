"""Run a command in a process group of its own that ends, with everything it started, when its starter does.

This file is run as a program by :func:`run_command`; it uses the standard library alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

POLL_S = 0.2


class Stopped(Exception):
    """The command was ended because the whole run is ending."""


def run_command(
    command: Sequence[str], *, log: BinaryIO, folder: Path, environment: Mapping[str, str], stop: threading.Event
) -> int:
    """Run a command to its end; its output goes to ``log``. If this process is killed, so is the command.

    Args:
        command: program and arguments.
        log: an open file.
        folder: working directory.
        environment: of the command.
        stop: ends it early.

    Returns:
        its exit status; negative or above 128 after a signal.

    Raises:
        Stopped: ``stop`` was set.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", __file__, *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=dict(environment),
        start_new_session=True,
    )
    try:
        while True:
            try:
                return process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    raise Stopped from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def main(command: Sequence[str]) -> int:
    """Start the command, end its group when standard input ends, and pass its exit status on."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _end_with_the_starter() -> None:
    """The starter never writes: the pipe ends when it does, even by SIGKILL."""
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
