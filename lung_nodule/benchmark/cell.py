"""A cell of the benchmark: one bundle, one seed, one test fold; what it runs, what it leaves, when it is done."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lung_nodule.errors import InputError
from lung_nodule.io import write_json

RECORD, BEGUN, OPTIONS = "cell.json", "begun.json", "options.json"
GIVEN = "given weights"
"""What a cell has instead of a seed where it trains nothing."""


@dataclass(frozen=True)
class Step:
    """A command of MONAI's bundles.

    Attributes:
        name: for messages: ``training``, ``test``, ``validation``.
        arguments: after ``python -m monai.bundle run``.
        leaves: the file without which it has failed.
    """

    name: str
    arguments: tuple[str, ...]
    leaves: Path


@dataclass(frozen=True)
class Cell:
    """One bundle, one seed, one test fold.

    Attributes:
        bundle: name.
        seed: of its training; None where weights are given.
        fold: that it tests, a number or ``holdout``.
        folder: absolute; ``log.txt``, ``begun.json``, ``options.json``, ``cell.json``, ``model.pt``, ``test/``,
            ``validation/``.
        dataset_dir: absolute; what is trained and tested on.
        weights: absolute; the ``model.pt`` that is tested, next to its side file.
        steps: its commands, in order.
        made_with: everything that its figures depend on, as JSON: compared before a finished cell is kept, or a
            training that was stopped is continued.
        options: of its training, the content of ``options.json``, which its command names; without any there is none.
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
        """For messages."""
        return f"{self.bundle}, {GIVEN if self.seed is None else f'seed {self.seed}'}, fold {self.fold}"

    @property
    def log(self) -> Path:
        """Where the output of its commands goes."""
        return self.folder / "log.txt"

    @property
    def shown_log(self) -> Path:
        """The log as seen from the benchmark's folder."""
        return self.log.relative_to(self.benchmark)

    @property
    def benchmark(self) -> Path:
        """The benchmark's folder, which holds ``cells/<bundle>/<seed>/<fold>``."""
        return self.folder.parents[3]

    def predictions(self, split: str) -> Path:
        """The table of a split, ``test`` or ``validation``."""
        return self.folder / split / "predictions.csv"

    def is_done(self) -> bool:
        """Whether it is finished, all its files included.

        Raises:
            InputError: it was begun or finished with other settings, of another dataset or other weights.
        """
        self._refuse_other(self.folder / BEGUN, "begun")
        record = self.folder / RECORD
        if not record.is_file() or not all(step.leaves.is_file() for step in self.steps):
            return False
        self._refuse_other(record, "finished")
        return True

    def _refuse_other(self, record: Path, done: str) -> None:
        """Raise InputError where a record has other settings; a missing one has none."""
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
        """Record what a training is made with, before it leaves anything; tests of given weights leave no part."""
        if self.seed is not None:
            write_json(self.folder / BEGUN, self.made_with)
        if self.options:
            write_json(self.folder / OPTIONS, self.options)

    def finish(self, **more: Any) -> None:
        """Record that it is done: the last file that is written."""
        write_json(self.folder / RECORD, {**self.made_with, **more})


@dataclass(frozen=True)
class Failed:
    """A cell that did not end well, and why in one line."""

    cell: str
    reason: str


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
