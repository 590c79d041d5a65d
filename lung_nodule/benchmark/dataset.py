"""Nodules of a dataset with their references, checked before any work, and a fingerprint of the dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.data import ATTRIBUTE_COLUMNS, labelled, nodule_datalist, training_folds, validation_fold
from lung_nodule.data.datalist import PATHS, patient_folds
from lung_nodule.errors import InputError
from lung_nodule.evaluation.results import describe_dataset
from lung_nodule.holdout import HOLDOUT
from lung_nodule.io import file_sha256, read_table
from lung_nodule.lidc import CHARACTERISTICS, FOLDS
from lung_nodule.runtime.progress_bar import progress

TABLES = ("nodules.csv", "folds.csv", "annotations.csv", "dataset.json")
COHORT = {"min_readers": 3, "max_slice_thickness_mm": 2.5}
"""Default cohort of ``benchmark``."""
REFERENCES = ["nodule_id", "patient_id", "fold", "readers", "diameter_mm", "malignancy_mean", "malignant"]


@dataclass(frozen=True)
class Dataset:
    """A dataset of the cohort ``benchmark``: slices of at most 2.5 mm and at least three readers by default.

    Attributes:
        folder: folder of the dataset.
        items: nodules, as returned by :func:`lung_nodule.data.nodule_datalist`.
        annotations: a row per reader and nodule with the nine ratings; None if the dataset has no such table.
        described: name, licence, whether it is synthetic.
        fingerprint: hash of the tables and of the content of all CTs and masks.
    """

    folder: Path
    items: list[dict[str, Any]]
    annotations: pd.DataFrame | None
    described: dict[str, Any]
    fingerprint: str

    @property
    def left_out(self) -> int:
        """Number of rows of ``nodules.csv`` that are not among the items."""
        return len(read_table(self.folder / "nodules.csv")) - len(self.items)

    @property
    def shown(self) -> dict[str, Any]:
        """Description for the report, without the local folder."""
        kept = {key: value for key, value in self.described.items() if key != "dataset_dir"}
        return {**kept, "fingerprint": self.fingerprint}

    @property
    def nodules(self) -> pd.DataFrame:
        """A row per nodule with its references."""
        return pd.DataFrame(self.items)[[*REFERENCES, *ATTRIBUTE_COLUMNS]]

    @property
    def patients(self) -> set[str]:
        """Names of the patients."""
        return {item["patient_id"] for item in self.items}

    @property
    def patients_by_fold(self) -> dict[int | str, set[str]]:
        """Names of the patients of every fold, the hold-out included."""
        found: dict[int | str, set[str]] = {}
        for item in self.items:
            found.setdefault(item["fold"], set()).add(item["patient_id"])
        return found


def read_dataset(folder: str | Path, folds: Sequence[int | str], *, cohort: Mapping[str, Any] | None = None) -> Dataset:
    """Read and check a dataset.

    Args:
        folder: dataset in the layout of ``python -m preprocessing convert``.
        folds: folds to read.
        cohort: ``min_readers`` and ``max_slice_thickness_mm``, if different from :data:`COHORT`.

    Raises:
        InputError: a table is missing or broken, a patient is in two folds, a hold-out patient in a numbered one.
    """
    folder = Path(folder)
    items = nodule_datalist(folder, folds=folds, columns=ATTRIBUTE_COLUMNS, **{**COHORT, **(cohort or {})})
    return Dataset(folder, items, _annotations(folder), describe_dataset(folder), _fingerprint(folder, items))


def folds_of(folder: str | Path) -> list[int | str]:
    """The folds that occur in a dataset's ``folds.csv``, the hold-out included; without that table, the hold-out."""
    if not (Path(folder) / "folds.csv").is_file():
        return [HOLDOUT]
    named = sorted(set(patient_folds(Path(folder))["fold"]))
    return [int(name) if name.isdigit() else name for name in named]


def require_classes(dataset: Dataset, folds: Sequence[int]) -> None:
    """Refuse a cross-validation in which a part lacks a class, before anything is trained.

    Args:
        dataset: dataset with all five folds.
        folds: test folds.

    Raises:
        InputError: a test, validation or training part has benign or malignant nodules only.
    """
    for fold in folds:
        validation = validation_fold(fold)
        for part in ([fold], [validation], training_folds(fold, validation)):
            chosen = [item for item in dataset.items if item["fold"] in part]
            if not chosen:
                raise InputError(
                    f"{dataset.folder}: no nodule is in folds {part}, and {FOLDS} folds are needed: add scans"
                )
            labelled(chosen)


def _annotations(folder: Path) -> pd.DataFrame | None:
    path = folder / "annotations.csv"
    if not path.is_file():
        return None
    columns = ["nodule_id", "reader", *CHARACTERISTICS]
    table = read_table(path, required=columns, numeric=columns[1:])[columns]
    repeated = table[table.duplicated(["nodule_id", "reader"])]
    if len(repeated):
        nodule, reader = repeated.iloc[0][["nodule_id", "reader"]]
        raise InputError(f"{path}: reader {reader:g} rates {nodule} twice: keep one row of each reader and nodule")
    return table


def _fingerprint(folder: Path, items: Sequence[dict[str, Any]]) -> str:
    """16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in TABLES:
        path = folder / name
        digest.update(path.read_bytes() if path.is_file() else b"none")
    paths = dict.fromkeys(Path(item[key]) for item in items for key in PATHS if key in item)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"no such file: {missing[0]}, which {folder / 'nodules.csv'} names: convert the scan again")
    with progress(len(paths), description="check files", unit="file") as step:
        for path in paths:
            digest.update(f"{path.name} {file_sha256(path)}".encode())
            step()
    return digest.hexdigest()[:16]
