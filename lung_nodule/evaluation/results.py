"""``metrics.json``: from a row per nodule to the figures and the baselines beside them."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from .baselines import SIZE_BASELINES, majority_accuracy, size_aucs
from .classification import area_under_curve, classification_metrics
from .intervals import bootstrap_interval
from .segmentation import Overlap

MEASURES = ("dice", "jaccard", "accuracy", "recall", "specificity")
COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")


def evaluation_results(table: pd.DataFrame, *, dataset: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The content of ``metrics.json``.

    Args:
        table: a row per nodule, as :class:`~lung_nodule.evaluation.EvaluationReport` collects it.
        dataset: which data these are (name, folder, whether synthetic).
        settings: with what the model was built and the nodules were chosen.

    Returns:
        plain numbers, lists and text; None where a figure does not exist (a class is missing).
    """
    labelled = table[table["malignant"].notna()]
    return _plain(
        {
            "dataset": dataset,
            "counts": _counts(table, labelled),
            "segmentation": _segmentation(table),
            "classification": _classification(labelled) if len(labelled) else None,
            "settings": settings,
            "notes": _notes(dataset),
        }
    )


def _counts(table: pd.DataFrame, labelled: pd.DataFrame) -> dict[str, int]:
    malignant = int((labelled["malignant"] > 0.5).sum())
    return {
        "nodules": len(table),
        "patients": table["patient_id"].nunique(),
        "malignant": malignant,
        "benign": len(labelled) - malignant,
        "undecided": len(table) - len(labelled),
        "missed": int((table["dice"] == 0).sum()),
    }


def _segmentation(table: pd.DataFrame) -> dict[str, Any]:
    pooled = Overlap.pooled(Overlap(*row) for row in table[list(COUNTS)].itertuples(index=False))
    return {
        "macro": {measure: table[measure].mean() for measure in MEASURES},
        "pooled": pooled.measures(),
        "dice_interval": bootstrap_interval(table, lambda rows: rows["dice"].mean()),
        "coarse_dice": table["coarse_dice"].mean(),
        "dice_voi": table["dice_voi"].mean(),
        "baselines": {"threshold_dice": table["threshold_dice"].mean()},
    }


def _classification(labelled: pd.DataFrame) -> dict[str, Any]:
    probability, label = labelled["malignancy_prob"].to_numpy(), labelled["malignant"].to_numpy()
    return {
        **classification_metrics(probability, label),
        "threshold": 0.5,
        "auc_interval": bootstrap_interval(labelled, _auc),
        "baselines": {
            "majority_accuracy": majority_accuracy(labelled),
            **{f"{column}_auc": auc for column, auc in size_aucs(labelled).items()},
        },
    }


def _auc(rows: pd.DataFrame) -> float:
    return area_under_curve(rows["malignancy_prob"].to_numpy(), rows["malignant"].to_numpy() > 0.5)


def _notes(dataset: dict[str, Any]) -> list[str]:
    notes = [
        "Labels are the readers' opinions (mean rating above or below 3), not pathology.",
        "Segmentation is measured on the slices of the fixed field; accuracy and specificity depend on its size.",
        "macro is the mean over nodules, pooled counts all pixels together; intervals are 95 %, over patients.",
        *(f"{column}_auc: {meaning}, on the same nodules." for column, meaning in SIZE_BASELINES.items()),
        "threshold_dice: everything above -400 HU that hangs together with the nodule's centre.",
        "On crops that end with the nodule Dice is optimistic: there are no slices beyond it to be wrong on.",
    ]
    if dataset.get("synthetic"):
        notes.insert(0, "SYNTHETIC DATA: these figures show that the software runs. They are no result.")
    return notes


def _plain(value: Any) -> Any:
    """JSON's own types; NaN becomes None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | bool | int) or value is None:
        return value
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None
