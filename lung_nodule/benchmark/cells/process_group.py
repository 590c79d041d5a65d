"""Run a command in its own process group, which is killed with all its processes when the starting process ends.

:func:`run_command` runs this file as a program; it uses only the standard library.
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


class StoppedError(Exception):
    """The command was stopped because the whole run is ending."""


def run_command(
    command: Sequence[str], *, log: BinaryIO, folder: Path, environment: Mapping[str, str], stop: threading.Event
) -> int:
    """Run a command and write its output to ``log``. If this process is killed, so is the command.

    Args:
        command: program and arguments.
        log: open log file.
        folder: working directory.
        environment: environment variables of the command.
        stop: event that ends the command early.

    Returns:
        The exit status; negative or above 128 after a signal.

    Raises:
        StoppedError: ``stop`` was set.
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
                    raise StoppedError from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def main(command: Sequence[str]) -> int:
    """Start the command, kill its group when standard input closes, and return its exit status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _end_with_parent() -> None:
    """Kill the group when the pipe from the parent closes; the parent never writes, even SIGKILL closes the pipe."""
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
