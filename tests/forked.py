"""``python ...`` in a process forked from one that has imported MONAI already: the import alone takes seven seconds.

One :mod:`tests.fork_server` serves all processes of a pytest run; it has imported nothing of ours, so a command imports
the library that its own path names, as a process of its own would.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
SERVER = "LUNG_NODULE_FORK_SERVER"
"""The environment variable with the server's folder, which other processes of a pytest run inherit."""
INTERPRETER = '''#!{python} -IS
"""In the place of ``python``: has the fork server run the command with this process's streams, and waits for it."""
import array, json, os, socket, sys
command = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
connection = socket.socket(socket.AF_UNIX)
connection.connect({socket!r})
streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
text = json.dumps(command).encode() + b"\\n"
connection.sendall(text[connection.sendmsg([text], streams):])
answer = connection.makefile().read()
sys.exit(int(answer) if answer else 1)
'''


def run_module(
    module: str, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run([sys.executable, "-m", module, *arguments])`` gives; see :func:`run_python`."""
    return run_python(["-m", module, *arguments], folder=folder, environment=environment)


def run_python(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], fork_children: bool = False
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run([sys.executable, *arguments])`` gives. Our own library is imported afresh.

    Args:
        arguments: a script, ``-m`` and a module, or ``-c`` and a program (``-P`` may come first); then what the program
            gets.
        folder: working directory.
        environment: variables of the process; ``PYTHONPATH`` comes before this repository on the path.
        fork_children: :func:`interpreter` is the process's ``sys.executable``.
    """
    executable = interpreter() if fork_children else sys.executable
    (ended,) = _run_all([(list(arguments), dict(environment))], folder, executable)
    return ended


def run_on_two_ranks(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
) -> list[subprocess.CompletedProcess[str]]:
    """The same command as two ranks of ``torch.distributed``, with the variables that ``torchrun`` would set."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [{**environment, **group, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    return _run_all([(list(arguments), variables) for variables in ranks], folder)


def interpreter() -> str:
    """An executable that takes the arguments of ``python`` and runs them in a fork, for programs that start others."""
    return str(_server() / "python")


def start_server() -> None:
    """Start the server of this process and its children, unless they have one. It imports nothing before a run."""
    if SERVER in os.environ:
        return
    folder = tempfile.TemporaryDirectory(prefix="forks_")
    path = str(Path(folder.name) / "socket")
    script = Path(folder.name) / "python"
    script.write_text(INTERPRETER.format(python=sys.executable, socket=path))
    script.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fork_server.py")), path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    os.environ[SERVER] = folder.name
    atexit.register(folder.cleanup)
    atexit.register(process.wait)
    atexit.register(process.stdin.close)  # the last registered is the first to run


def _server() -> Path:
    start_server()
    return Path(os.environ[SERVER])


def _run_all(
    commands: Sequence[tuple[list[str], dict[str, str]]], folder: Path, executable: str = sys.executable
) -> list[subprocess.CompletedProcess[str]]:
    common = {"folder": str(folder), "executable": executable}
    with ExitStack() as stack:
        files = [[stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2)] for _ in commands]
        running = [
            stack.enter_context(_start(outputs, arguments=arguments, environment=environment, **common))
            for (arguments, environment), outputs in zip(commands, files, strict=True)
        ]
        answers = [stack.enter_context(connection.makefile()).read() for connection in running]
        for outputs in files:
            for out in outputs:
                out.seek(0)
        return [
            subprocess.CompletedProcess(arguments, int(answer) if answer else -1, *(out.read() for out in outputs))
            for (arguments, _), answer, outputs in zip(commands, answers, files, strict=True)
        ]


def _start(outputs: Sequence[IO[str]], **command: object) -> socket.socket:
    """The connection to a process that runs a command; it answers with the exit status."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(_server() / "socket"))
    text = json.dumps(command).encode() + b"\n"
    with open(os.devnull) as nothing:
        streams = array.array("i", [nothing.fileno(), *(out.fileno() for out in outputs)])
        sent = connection.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    connection.sendall(text[sent:])
    return connection
