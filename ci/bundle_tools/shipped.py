"""Run the Model Zoo's commands on a bundle as its package ships it."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ci.bundle_tools.archive import SIDE_FILE, WEIGHTS, write_package
from lung_nodule.library_version import LIBRARY

COMMANDS = Path(__file__).with_name("zoo_commands.py")


def run_shipped(bundle: Path, *, weights: Path) -> str | None:
    """Package a bundle, unzip it elsewhere and run ``zoo_commands.py`` on it, with that package's library.

    Args:
        bundle: folder of the bundle.
        weights: a ``model.pt`` with its side file, for a bundle that ships none.

    Returns:
        what went wrong in one line, the command first; None if nothing did.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = _unzip_package(bundle, weights=weights, scratch=Path(scratch))
        return _ask(root)


def _ask(root: Path) -> str | None:
    process = _commands()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{root}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    return json.loads(line)["problem"] if line else f"{COMMANDS.name} ended with status {process.wait()}"


@functools.cache
def _commands() -> subprocess.Popen[str]:
    """The process that runs the commands, until this one ends."""
    process = subprocess.Popen(
        [sys.executable, str(COMMANDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.kill)
    return process


def _unzip_package(bundle: Path, *, weights: Path, scratch: Path) -> Path:
    """Write and unzip the package; return its root."""
    copy = Path(shutil.copytree(bundle, scratch / "bundles" / bundle.resolve().name))
    if not (copy / WEIGHTS).is_file():
        (copy / WEIGHTS).parent.mkdir(exist_ok=True)
        shutil.copy(weights, copy / WEIGHTS)
        shutil.copy(weights.with_suffix(".json"), copy / SIDE_FILE)
    own = copy / "lung_nodule"
    path, _ = write_package(copy, scratch / "zips", library=own if own.is_dir() else LIBRARY)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(scratch / "models")
    root = scratch / "models" / copy.name
    if not (root / WEIGHTS).is_file():  # above 25 MB: the zoo downloads them
        shutil.copy(copy / WEIGHTS, root / WEIGHTS)
    return root
