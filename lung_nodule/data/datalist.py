"""The nodule table as a datalist: choice of nodules by fold and cohort, and their labels."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.data.attributes import ATTRIBUTE_COLUMNS
from lung_nodule.errors import InputError
from lung_nodule.holdout import HOLDOUT, LIST, holdout_patients
from lung_nodule.io import CENTER, read_table

logger = logging.getLogger(__name__)

COLUMNS = [
    "nodule_id", "patient_id", "readers", "slice_thickness_mm", "center_x_ras", "center_y_ras", "center_z_ras",
    "diameter_mm", "malignancy_mean", "ct", "mask",
]  # fmt: skip
PATHS = ("ct", "mask", "reader_masks")
LEARNT = (*CENTER, "diameter_mm", "volume_mm3", "malignancy_mean", *ATTRIBUTE_COLUMNS)
"""Numbers of an item, besides its class, that a network is trained on."""
ANOTHER_MODEL = (
    "name one that left a fold out (--output_dir, --model_path), or test it on other patients with "
    "`python -m lung_nodule benchmark --evaluate_only`"
)
"""Advice for the evaluation of a model that was trained on every fold."""


def require_dataset(dataset_dir: str | Path) -> None:
    """Refuse a folder that is not a dataset, before anything is built.

    Raises:
        InputError: the folder or its table of nodules is missing.
    """
    dataset_dir = Path(dataset_dir)
    if not (dataset_dir / "nodules.csv").is_file():
        raise InputError(
            f"no dataset at {dataset_dir} (it has no nodules.csv): make one with "
            f"`python -m preprocessing convert --dicom_root DIR --out {dataset_dir}`, of a synthetic DIR "
            "if need be (`python -m preprocessing phantom --out DIR`), or name another with --dataset_dir"
        )


def nodule_datalist(
    dataset_dir: str | Path,
    *,
    folds: int | str | Sequence[int | str | None],
    min_readers: int = 3,
    max_slice_thickness_mm: float = 2.5,
    malignancy: str = "mean",
    malignancy_threshold: float = 3.0,
    exclude_score: float | bool | None = 3.0,
    columns: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The nodules of some folds as MONAI datalist items.

    The default is the cohort ``benchmark``: at least three readers, slices of at most 2.5 mm. The label is the readers'
    opinion: malignant where the mean of their ratings is above 3, benign where it is below, neither at 3 (NaN).

    Args:
        dataset_dir: a dataset in the layout that ``python -m preprocessing convert`` writes.
        folds: fold or folds to take (of a model that was trained on every fold ``all`` or None, which is refused);
            hold-out patients are in none of the numbered ones, only in ``"holdout"``.
        min_readers: minimum number of readers that outlined a nodule.
        max_slice_thickness_mm: maximum slice thickness of the scan.
        malignancy: statistic that makes one score of the readers' ratings, ``"mean"`` or ``"median"``.
        malignancy_threshold: a score of at least this is malignant, where it is not excluded.
        exclude_score: the score that belongs to neither class; None, or False on a command line (where MONAI ignores
            None), gives every nodule a class.
        columns: further columns of ``nodules.csv`` that the method needs, numbers.

    Returns:
        one dict per nodule: its columns of ``nodules.csv``, ``fold``, ``malignant`` (1.0, 0.0 or NaN) and the paths
        ``ct``, ``mask`` and, where the table names one, ``reader_masks``.

    Raises:
        InputError: the dataset is missing or broken, lacks a column, a patient has no fold, no nodule is left, or
            ``malignancy`` is neither.
    """
    if malignancy not in ("mean", "median"):
        raise InputError(f"malignancy must be 'mean' or 'median', got {malignancy!r}")
    require_dataset(dataset_dir)
    dataset_dir = Path(dataset_dir)
    required = list(dict.fromkeys([*COLUMNS, f"malignancy_{malignancy}", *columns]))
    nodules = read_table(dataset_dir / "nodules.csv", required=required, unique=["nodule_id"])
    folds = [folds] if isinstance(folds, int | str) else list(folds)
    if "all" in folds or None in folds:
        raise InputError(f"a model that was trained on every fold leaves none to evaluate: {ANOTHER_MODEL}")
    _require_paths(nodules, dataset_dir / "nodules.csv")
    table = _with_folds(nodules, dataset_dir, without_table=HOLDOUT in folds)
    of_folds = table[table["fold"].isin([str(fold) for fold in folds])]
    chosen = _of_cohort(of_folds, min_readers=min_readers, max_slice_thickness_mm=max_slice_thickness_mm)
    if chosen.empty:
        raise InputError(
            f"{dataset_dir}: none of its {len(table)} nodules is in folds {folds} with at least "
            f"{min_readers} readers and slices of at most {max_slice_thickness_mm} mm; loosen these or add scans"
        )
    patients = chosen["patient_id"].nunique()
    logger.info(f"{dataset_dir}: {len(chosen)} nodules of {patients} patients, folds {folds}")
    score = chosen[f"malignancy_{malignancy}"]
    excluded = None if exclude_score is False else exclude_score
    label = (score >= malignancy_threshold).astype(float).mask(score == excluded)
    return [_item(row, dataset_dir) for row in chosen.assign(malignant=label).to_dict("records")]


def _of_cohort(nodules: pd.DataFrame, *, min_readers: int, max_slice_thickness_mm: float) -> pd.DataFrame:
    """The nodules of enough readers on slices that are thin enough; how many others there are is logged."""
    few, thick = nodules["readers"] < min_readers, nodules["slice_thickness_mm"] > max_slice_thickness_mm
    if (few | thick).any():
        logger.info(
            f"left out: {few.sum()} nodules of fewer than {min_readers} readers, {(thick & ~few).sum()} on slices of "
            f"more than {max_slice_thickness_mm:g} mm"
        )
    return nodules[~(few | thick)]


def labelled(datalist: Sequence[dict[str, Any]], *, keep_undecided: bool = False) -> list[dict[str, Any]]:
    """The nodules with a class: those whose score is not the one between the two.

    Args:
        datalist: datalist of :func:`nodule_datalist`.
        keep_undecided: whether those between the classes are kept; both classes are needed all the same.

    Raises:
        InputError: one of the two classes is missing.
    """
    chosen = [item for item in datalist if not math.isnan(item["malignant"])]
    classes = {item["malignant"] for item in chosen}
    if len(classes) < 2:
        folds = sorted({item["fold"] for item in datalist})
        found = {0.0: "only benign", 1.0: "only malignant"}[classes.pop()] if classes else "no classified"
        raise InputError(
            f"folds {folds} hold {found} nodules ({len(chosen)} of {len(datalist)} have a class): a classifier needs "
            "both classes; add scans or choose another --fold"
        )
    return list(datalist) if keep_undecided else chosen


def fingerprint(datalist: Sequence[dict[str, Any]]) -> str:
    """A short hash of a datalist's nodules, in any order: their classes, folds, centres, diameters and mean ratings."""
    lines = sorted(_described(item) for item in datalist)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _described(item: Mapping[str, Any]) -> str:
    numbers = [f"{name}={float(item[name])!r}" for name in LEARNT if item.get(name) is not None]
    return " ".join([str(item["nodule_id"]), str(item[_label(item)]), str(item["fold"]), *numbers])


def _label(item: Mapping[str, Any]) -> str:
    return "malignant" if "malignant" in item else "nodule"


def patients_of(datalist: Sequence[dict[str, Any]]) -> list[str]:
    """The patients of a datalist, sorted."""
    return sorted({item["patient_id"] for item in datalist})


def is_synthetic(dataset_dir: str | Path) -> bool:
    """Whether a dataset's scans are phantoms, as its ``dataset.json`` says."""
    return bool(dataset_json(Path(dataset_dir)).get("synthetic_scans"))


def dataset_json(dataset_dir: Path) -> dict[str, Any]:
    """The content of ``dataset.json``; empty if the file does not exist.

    Raises:
        InputError: it is not a JSON object.
    """
    path = dataset_dir / "dataset.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return found


def refuse_seen_patients(
    datalist: Sequence[dict[str, Any]], settings: dict[str, Any], *, split: str = "test"
) -> list[dict[str, Any]]:
    """The datalist itself, unless it holds a patient that the model was trained or validated on.

    Args:
        datalist: nodules to be evaluated.
        settings: the model's side file.
        split: ``"validation"`` allows the validation patients; figures on them select a model and are not a result.

    Raises:
        InputError: patients overlap, whatever their folds are called.
    """
    allowed = set(settings.get("patients_validated", ())) if split == "validation" else set()
    seen = sorted(set(patients_of(datalist)) & patients_seen(settings) - allowed)
    if seen:
        raise InputError(
            f"{len(seen)} of the {len(patients_of(datalist))} patients to evaluate took part in this model's training "
            f"({seen[0]}, ...): {_evaluate_instead(settings['fold'])}"
        )
    return list(datalist)


def patients_seen(settings: Mapping[str, Any]) -> set[str]:
    """Patients of a model's training and validation.

    Args:
        settings: content of the model's side file.

    Raises:
        InputError: the side file does not list them, so nobody can tell whom the model may be tested on.
    """
    try:
        return set(settings["patients_seen"])
    except KeyError:
        raise InputError(
            "the model's side file has no 'patients_seen', the patients of its training: take the file that the "
            "training wrote"
        ) from None


def _evaluate_instead(fold: int | str) -> str:
    return ANOTHER_MODEL if fold == "all" else f"evaluate its test fold, {fold}, of the dataset that it was trained on"


def patient_folds(dataset_dir: Path) -> pd.DataFrame:
    """``patient_id`` and ``fold`` (as text: 0-4 or ``holdout``)."""
    folds = read_table(dataset_dir / "folds.csv", required=["patient_id", "fold"])
    if folds["patient_id"].duplicated().any():
        patient = folds.loc[folds["patient_id"].duplicated(), "patient_id"].iloc[0]
        raise InputError(f"{dataset_dir / 'folds.csv'}: {patient} is listed twice; a patient belongs to one fold")
    folds = folds[["patient_id", "fold"]].astype(str)
    refuse_numbered_holdout(folds, dataset_dir / "folds.csv")
    return folds


def refuse_numbered_holdout(folds: pd.DataFrame, path: Path) -> None:
    """Raise InputError where a patient of the hold-out has a numbered fold, whichever fold is asked for."""
    wrong = folds[folds["patient_id"].isin(holdout_patients()) & (folds["fold"] != HOLDOUT)]
    if not wrong.empty:
        named = ", ".join(f"{row.patient_id} into {row.fold}" for row in wrong.head(3).itertuples())
        more = ", ..." if len(wrong) > 3 else ""
        raise InputError(
            f"{path} puts {len(wrong)} hold-out patients into numbered folds ({named}{more}): write {HOLDOUT} for "
            f"them, as `python -m preprocessing convert` does ({LIST.name} of lung_nodule names all)"
        )


def _require_paths(nodules: pd.DataFrame, path: Path) -> None:
    """Raise InputError where a nodule has no CT or no mask."""
    for column in ("ct", "mask"):
        empty = nodules[column].isna().to_numpy()
        if empty.any():
            nodule = nodules["nodule_id"].iloc[int(empty.argmax())]
            raise InputError(f"{path}: column {column} of {nodule} is empty: write the path of its file")


def _with_folds(nodules: pd.DataFrame, dataset_dir: Path, *, without_table: bool) -> pd.DataFrame:
    """The nodules with ``fold`` of ``folds.csv``, whatever the table of nodules says itself.

    Without a table of folds, where that is allowed, all are of the hold-out.
    """
    if without_table and not (dataset_dir / "folds.csv").is_file():
        return nodules.assign(fold=HOLDOUT)
    nodules = nodules.drop(columns="fold", errors="ignore")
    table = nodules.merge(patient_folds(dataset_dir), on="patient_id", how="left", validate="many_to_one")
    without = table.loc[table["fold"].isna(), "patient_id"].unique()
    if len(without):
        raise InputError(
            f"{dataset_dir / 'folds.csv'} has no fold of {len(without)} patients of nodules.csv ({without[0]}, ...): "
            f"add them, with a number or {HOLDOUT}"
        )
    return table


def _item(row: dict[Any, Any], dataset_dir: Path) -> dict[str, Any]:
    paths = {key: str(dataset_dir / row[key]) for key in PATHS if isinstance(row.get(key), str)}
    kept = {key: value for key, value in row.items() if key not in PATHS}
    return {**kept, **paths, "fold": int(row["fold"]) if row["fold"].isdigit() else row["fold"]}
