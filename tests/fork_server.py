"""A process that has imported torch, MONAI and what they load, but nothing of ours: it forks one process per command.

Started by :mod:`tests.forked` with the path of its socket; ends when its standard input is closed. A message is a line
of JSON (the arguments of :func:`run`) with three open files, the command's standard streams; the answer is the exit
status. A connection that is closed without one belonged to a process that was killed.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import types
from pathlib import Path

ROOT = str(Path(__file__).parents[1])
PRELOADED = (
    "fire", "ignite.handlers", "isal.igzip_threaded", "matplotlib.figure", "monai.bundle", "nibabel", "onnxruntime",
    "onnxscript", "pandas", "pandas.io.formats.csvs", "pyarrow.pandas_compat", "skimage.color", "skimage.filters",
    "skimage.segmentation", "sklearn.metrics", "torch._dynamo", "torch.distributed.run",
    "torch.onnx._internal.exporter._core", "torch.utils.tensorboard",
)  # fmt: skip


def serve(path: str) -> None:
    """Fork a process for every connection, until standard input is closed. The modules are imported for the first."""
    signal.signal(signal.SIGCHLD, _reap)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if listening not in ready:
                return
            _preload()
            connection, _ = listening.accept()
            with connection:
                if not os.fork():
                    listening.close()
                    _answer(connection)


def _preload() -> None:
    if PRELOADED[-1] in sys.modules:
        return
    for module in PRELOADED:
        importlib.import_module(module)
    ours = [name for name in sys.modules if name.partition(".")[0] in ("lung_nodule", "preprocessing")]
    assert not ours, f"a command would not import {ours} itself"
    gc.freeze()


def _reap(*_: object) -> None:
    while True:
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return


def _answer(connection: socket.socket) -> None:
    """Run the command of a connection in this process, which ends here."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, ancillary, _, _ = connection.recvmsg(1 << 20, socket.CMSG_LEN(3 * array.array("i").itemsize))
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 20)
    streams = array.array("i")
    streams.frombytes(ancillary[0][2])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    status = run(**json.loads(text))
    connection.sendall(f"{status}\n".encode())
    os._exit(status)


def run(arguments: list[str], folder: str, environment: dict[str, str], executable: str = sys.executable) -> int:
    """Be ``python ARGUMENTS`` in a folder and an environment; the exit status."""
    import torch

    sys.executable = executable
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    sys.path[:] = [
        *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)),
        *(entry for entry in sys.path[1:] if entry not in ("", ROOT)),  # but this script's own folder
        ROOT,  # as an editable install: last
    ]
    status = _status(arguments)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _status(arguments: list[str]) -> int:
    """Run a program; its exit status, by the interpreter's own rules."""
    try:
        _execute(arguments)
    except SystemExit as exit_:
        if exit_.code is None or isinstance(exit_.code, int):
            return exit_.code or 0
        sys.stderr.write(f"{exit_.code}\n")
        return 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _execute(arguments: list[str]) -> None:
    options = {flag for flag in arguments[:2] if flag in ("-u", "-P")}
    first, *rest = arguments[len(options) :]
    here = [] if "-P" in options else [os.getcwd()]
    if first == "-m":
        sys.path[:0] = here
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path[:0] = [""] if here else []
        sys.argv = ["-c", *rest[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(main))
    else:
        sys.path.insert(0, str(Path(first).resolve().parent))
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
