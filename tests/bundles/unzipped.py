"""An unzipped package, and commands in it that see nothing of the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.forked import run_python


def unzipped(path: Path, into: Path) -> Path:
    """The root of a package, unzipped into an empty folder."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(into)
    (root,) = into.iterdir()
    return root


def run_alone(command: list[str], root: Path, *, search_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A Python command in a package's root (a fork), with nothing or one folder on PYTHONPATH."""
    return run_python(command, folder=root, environment=_environment(search_path))


def _environment(search_path: Path | None = None) -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return environment | ({"PYTHONPATH": str(search_path)} if search_path else {})


def train_evaluate_and_infer_alone(
    package: Path, *, dataset: Path, small: dict[str, object], inference: dict[str, object] | None = None
) -> str:
    """One small training, evaluation and inference into ``out`` (alone.py); what they said.

    In a fresh process, as MONAI looks for its optional packages once, when it is imported.
    """
    options = {
        "all": {"dataset_dir": str(dataset), "output_dir": "out", "device": "cpu"},
        "train": {key: value for key, value in small.items() if key != "device"},
        "inference": {"folds": [0], **(inference or {})},
    }
    command = [str(Path(__file__).with_name("alone.py")), json.dumps(options), "train", "evaluate", "inference"]
    ended = subprocess.run(
        [sys.executable, *command], cwd=package, env=_environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    return ended.stdout
