"""``python ...`` in a process forked from one that has imported MONAI already: the import alone takes nine seconds."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["ignite.handlers", "matplotlib.figure", "monai.bundle", "nibabel", "pandas", "skimage.filters",
     "skimage.segmentation", "sklearn.metrics", "torch.utils.tensorboard"]
)  # fmt: skip


def run_module(
    module: str, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run([sys.executable, "-m", module, *arguments])`` gives; see :func:`run_python`."""
    return run_python(["-m", module, *arguments], folder=folder, environment=environment)


def run_python(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run([sys.executable, *arguments])`` gives. Our own library is imported afresh.

    Args:
        arguments: a script, ``-m`` and a module, or ``-c`` and a program; then what the program gets.
        folder: working directory.
        environment: variables of the process; ``PYTHONPATH`` comes before this repository on the path.
    """
    (ended,) = _run_all([(list(arguments), dict(environment))], folder)
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


def _run_all(
    commands: Sequence[tuple[list[str], dict[str, str]]], folder: Path
) -> list[subprocess.CompletedProcess[str]]:
    with tempfile.TemporaryDirectory() as captured:
        files = [[str(Path(captured) / f"{number}_{name}") for name in ("stdout", "stderr")]
                 for number in range(len(commands))]  # fmt: skip
        processes = [
            SERVER.Process(target=_run, args=(arguments, str(folder), environment, out))
            for (arguments, environment), out in zip(commands, files, strict=True)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return [
            subprocess.CompletedProcess(arguments, process.exitcode, *(Path(file).read_text("utf-8") for file in out))
            for (arguments, _), process, out in zip(commands, processes, files, strict=True)
        ]


def _run(arguments: list[str], folder: str, environment: dict[str, str], files: list[str]) -> None:
    import torch

    for descriptor, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    here = str(ROOT)
    sys.path[:] = [
        *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)),
        *(entry for entry in sys.path if entry not in ("", here)),
        here,  # as an editable install: last
    ]
    status = _status(arguments)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


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
    first, *rest = arguments
    if first == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(main))
    else:
        sys.path.insert(0, str(Path(first).parent))
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")
