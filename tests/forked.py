"""``python -m MODULE`` in a process forked from one that has imported MONAI already: the import alone takes seconds."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["ignite.handlers", "matplotlib.figure", "monai.bundle", "nibabel", "pandas", "skimage.filters",
     "skimage.segmentation", "sklearn.metrics", "torch.utils.tensorboard"]
)  # fmt: skip


def run_module(
    module: str, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run([sys.executable, "-m", module, *arguments])`` gives. Our own library is imported afresh.

    Args:
        module: a package with a ``__main__``.
        arguments: of the command line.
        folder: working directory, first on the path.
        environment: variables of the process.
    """
    with tempfile.TemporaryDirectory() as captured:
        files = [str(Path(captured) / name) for name in ("stdout", "stderr")]
        process = SERVER.Process(target=_run, args=(module, list(arguments), str(folder), dict(environment), files))
        process.start()
        process.join()
        texts = [Path(file).read_text(encoding="utf-8") for file in files]
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, *texts)


def _run(module: str, arguments: list[str], folder: str, environment: dict[str, str], files: list[str]) -> None:
    import torch

    for descriptor, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    sys.path.insert(0, folder)
    sys.argv = [module, *arguments]
    status = _status(module)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status(module: str) -> int:
    """Run a module as the program; its exit status, by the interpreter's own rules."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as exit_:
        if exit_.code is None or isinstance(exit_.code, int):
            return exit_.code or 0
        sys.stderr.write(f"{exit_.code}\n")
        return 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0
