"""The long table of a benchmark: one row per nodule, method and seed, for networks and baselines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from lung_nodule.benchmark.cells.cell import Cell
from lung_nodule.core import NETWORK_SCORE
from lung_nodule.data import ATTRIBUTE_COLUMNS
from lung_nodule.errors import InputError
from lung_nodule.io import read_table, write_table
from lung_nodule.lidc import ATTRIBUTES
from sklearn.metrics import roc_curve

KEYS = ["nodule_id", "patient_id", "fold", "seed", "method"]
REFERENCES = ["readers", "diameter_mm", "malignancy_mean", "malignant", *ATTRIBUTE_COLUMNS]
SCORES = ["malignancy_prob", "malignancy_score", "malignancy_threshold", "malignancy_spread"]
"""``malignancy_score`` ranks the nodules if a method ranks by another number than its probability (such as a diameter
in mm); ``malignancy_threshold`` is chosen on the validation fold of the row's test fold, or stored with given weights;
``malignancy_spread`` is the width of the probability's range."""
DIGITS = 9
"""Significant digits in the file; nine digits distinguish any two float32 values."""
MASKS = [
    "dice",
    "jaccard",
    "dice_voi",
    "volume_mm3",
    "true_positive",
    "false_positive",
    "false_negative",
    "true_negative",
]


def network_rows(cells: Sequence[Cell], nodules: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Predictions of finished cells with their references.

    Args:
        cells: finished cells.
        nodules: nodules of the dataset with their references.
        split: ``test`` or ``validation``; ``fold`` is the cell's test fold in both.

    Raises:
        InputError: a cell's table holds a nodule that the dataset does not have.
    """
    tables = [_of_cell(cell, nodules, split) for cell in cells]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*KEYS, *REFERENCES])


def _of_cell(cell: Cell, nodules: pd.DataFrame, split: str) -> pd.DataFrame:
    path = cell.predictions(split)
    found = _read(path)
    own = found.drop(columns=[column for column in found if column in {*KEYS[1:], *REFERENCES}])
    rows = nodules.drop(columns="fold").merge(own, on="nodule_id", how="right", validate="one_to_one")
    if rows["patient_id"].isna().any():
        raise InputError(f"{path} holds nodules that the dataset lacks: delete {cell.folder} and run again")
    if "malignancy_prob_max" in rows:
        rows["malignancy_spread"] = rows["malignancy_prob_max"] - rows["malignancy_prob_min"]
    seed = np.nan if cell.seed is None else cell.seed
    threshold = _threshold(cell, nodules) if split == "test" else np.nan
    return rows.assign(fold=cell.fold, seed=seed, method=cell.bundle, malignancy_threshold=threshold)


def _read(path: Path) -> pd.DataFrame:
    """Read a table of predictions; the malignancy column is empty for a network without a malignancy."""
    columns = ["nodule_id", "malignancy_prob"]
    found = read_table(path, required=columns, numeric=[], unique=["nodule_id"])
    if len(found) and found["malignancy_prob"].isna().all():
        return found
    return read_table(path, required=columns, unique=["nodule_id"])


def _threshold(cell: Cell, nodules: pd.DataFrame) -> float:
    """Threshold chosen on the validation fold; for given weights, that of the side file's read-out, if any."""
    if cell.seed is None:
        settings = json.loads(cell.predictions("test").with_name("metrics.json").read_text(encoding="utf-8"))[
            "settings"
        ]
        return float((settings.get("readout") or {}).get("threshold", np.nan))
    rows = _of_cell(cell, nodules, "validation")
    return youden_threshold(rows["malignancy_prob"].to_numpy(), rows["malignant"].to_numpy())


def youden_threshold(probability: np.ndarray, label: np.ndarray) -> float:
    """Probability threshold with the highest sensitivity + specificity.

    Args:
        probability: ``[N]``; NaN for a network without a malignancy.
        label: ``[N]``, 1, 0, or NaN for nodules without a class, which are left out.

    Returns:
        The threshold; NaN if a class is missing.
    """
    known = ~np.isnan(label) & ~np.isnan(probability)
    if len(set(label[known])) < 2:
        return float("nan")
    false, true, thresholds = roc_curve(label[known], probability[known], drop_intermediate=False)
    return float(thresholds[1:][np.argmax((true - false)[1:])])


def select_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Select keys, references, scores, mask figures and predicted attributes.

    A network's measurements and intermediate outputs are in the cell's own table.
    """
    attributes = [f"{name}{kind}" for kind in ("_pred", "_prob", "_score") for name in ATTRIBUTES]
    columns = [*KEYS, "reader", *REFERENCES, *SCORES, NETWORK_SCORE, *MASKS, *attributes]
    return table[[column for column in columns if column in table]]


def write_predictions(path: Path, table: pd.DataFrame) -> None:
    """Write the long table: numbers to :data:`DIGITS`, seeds and readers as integers, missing values empty."""
    whole = {column: table[column].astype("Int64") for column in ("seed", "reader") if column in table}
    write_table(path, select_columns(table.assign(**whole)), digits=DIGITS)
