"""A cell of the benchmark (one bundle, one seed, one test fold): its commands, output files and completion state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lung_nodule.errors import InputError
from lung_nodule.io import write_json

RECORD, BEGUN, OPTIONS = "cell.json", "begun.json", "options.json"
GIVEN = "given weights"
"""Replaces the seed in the name of a cell that does not train."""


@dataclass(frozen=True)
class Step:
    """A command of MONAI's bundles.

    Attributes:
        name: step name for messages: ``training``, ``test``, ``validation``.
        arguments: arguments of ``python -m monai.bundle run``.
        leaves: output file; the step has failed without it.
    """

    name: str
    arguments: tuple[str, ...]
    leaves: Path


@dataclass(frozen=True)
class Cell:
    """One bundle, one seed, one test fold.

    Attributes:
        bundle: bundle name.
        seed: training seed; None for given weights.
        fold: test fold, a number or ``holdout``.
        folder: absolute path of the folder with ``log.txt``, ``begun.json``, ``options.json``, ``cell.json``,
            ``model.pt``, ``test/`` and ``validation/``.
        dataset_dir: absolute path of the dataset.
        weights: absolute path of the tested ``model.pt``, next to its side file.
        steps: commands in order.
        made_with: everything that the figures depend on, as JSON; compared before a finished cell is kept or a
            stopped training is resumed.
        options: training options, the content of ``options.json``; the file is not written if empty.
    """

    bundle: str
    seed: int | None
    fold: int | str
    folder: Path
    dataset_dir: Path
    weights: Path
    steps: tuple[Step, ...]
    made_with: dict[str, Any] = field(hash=False)
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Name of the cell for messages."""
        return f"{self.bundle}, {GIVEN if self.seed is None else f'seed {self.seed}'}, fold {self.fold}"

    @property
    def log(self) -> Path:
        """Log file of the commands."""
        return self.folder / "log.txt"

    @property
    def shown_log(self) -> Path:
        """Path of the log relative to the benchmark's folder."""
        return self.log.relative_to(self.benchmark)

    @property
    def benchmark(self) -> Path:
        """The benchmark's folder, which holds ``cells/<bundle>/<seed>/<fold>``."""
        return self.folder.parents[3]

    def predictions(self, split: str) -> Path:
        """Path of the predictions of a split, ``test`` or ``validation``."""
        return self.folder / split / "predictions.csv"

    def is_done(self) -> bool:
        """Whether the cell is finished and its predictions exist; its ``model.pt`` may have been deleted since.

        Raises:
            InputError: it was begun or finished with other settings, another dataset or other weights.
        """
        self._refuse_other(self.folder / BEGUN, "begun")
        record = self.folder / RECORD
        if not record.is_file() or not all(s.leaves.is_file() for s in self.steps if s.leaves != self.weights):
            return False
        self._refuse_other(record, "finished")
        return True

    def _refuse_other(self, record: Path, done: str) -> None:
        """Raise InputError if the record exists and has other settings."""
        if not record.is_file():
            return
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{record} is not JSON: delete the folder {self.folder}, or give another --out") from error
        differing = sorted(key for key in self.made_with if found.get(key) != self.made_with[key])
        if differing:
            key = differing[0]
            raise InputError(
                f"{self.folder} was {done} with another {key} ({_short(found.get(key))}, now "
                f"{_short(self.made_with[key])}): give another --out, or delete that folder"
            )

    def begin(self) -> None:
        """Record the settings of a training before it writes anything; tests of given weights need no such record."""
        if self.seed is not None:
            write_json(self.folder / BEGUN, self.made_with)
        if self.options:
            write_json(self.folder / OPTIONS, self.options)

    def finish(self, **more: Any) -> None:
        """Record that the cell is done; this file is written last."""
        write_json(self.folder / RECORD, {**self.made_with, **more})


def software_of(cells: Iterable[Cell]) -> dict[str, list[str]]:
    """Versions of the software that finished the cells, by bundle."""
    names: dict[str, set[str]] = {}
    for cell in cells:
        record = json.loads((cell.folder / RECORD).read_text(encoding="utf-8"))
        names.setdefault(cell.bundle, set()).add(str(record.get("software", "unknown")))
    return {bundle: sorted(found) for bundle, found in names.items()}


@dataclass(frozen=True)
class CellFailure:
    """A cell that failed, with the reason in one line."""

    cell: str
    reason: str


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
