"""Figures of a malignancy score: ranking, decisions, calibration, and the nodules that readers rated 3."""

from __future__ import annotations

import numpy as np
import pandas as pd
from lung_nodule.evaluation import classification_metrics
from lung_nodule.evaluation.metrics import area_under_curve
from sklearn.metrics import brier_score_loss

UNDECIDED = 3.0
BINS = 10


def ranking_score(rows: pd.DataFrame) -> pd.Series:
    """Ranking score: ``malignancy_score`` where a method has one, else its probability."""
    if "malignancy_score" not in rows:
        return rows["malignancy_prob"]
    return rows["malignancy_score"].fillna(rows["malignancy_prob"])


def classification_figures(rows: pd.DataFrame) -> dict[str, float]:
    """Figures of one method and seed over its nodules of all folds together.

    Args:
        rows: table with ``malignancy_prob``, ``malignant`` (NaN at score 3), ``malignancy_mean`` and
            ``malignancy_threshold``.

    Returns:
        ``auc``; ``accuracy``, ``sensitivity``, ``specificity`` at 0.5; ``accuracy_at_threshold`` at each row's own
        threshold; ``brier``; ``calibration_error``; ``auc_with_3``, with score 3 counted as benign; ``spearman`` with
        the readers' mean, score 3 included. NaN where a class is missing.
    """
    known = rows[rows["malignant"].notna()]
    label = known["malignant"].to_numpy(dtype=float)
    return {
        **_of_probability(known["malignancy_prob"].to_numpy(dtype=float), label),
        "accuracy_at_threshold": accuracy_at(known),
        "auc": area_under_curve(ranking_score(known).to_numpy(dtype=float), label),
        "auc_with_3": area_under_curve(
            ranking_score(rows).to_numpy(dtype=float), (rows["malignancy_mean"] > UNDECIDED).to_numpy(dtype=float)
        ),
        "spearman": rank_correlation(ranking_score(rows), rows["malignancy_mean"]),
    }


def _of_probability(probability: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Figures that require a probability; NaN where a method only ranks."""
    if not len(probability) or np.isnan(probability).any():
        return dict.fromkeys(("accuracy", "sensitivity", "specificity", "brier", "calibration_error"), float("nan"))
    return {
        **classification_metrics(probability, label),
        "brier": float(brier_score_loss(label, probability)),
        "calibration_error": calibration_error(probability, label),
    }


def scores_malignancy(rows: pd.DataFrame) -> bool:
    """Whether a method ranks nodules by malignancy."""
    return "malignancy_prob" in rows and bool(ranking_score(rows).notna().any())


def fold_aucs(rows: pd.DataFrame) -> dict[str, float]:
    """AUC within each test fold, by its name."""
    known = rows[rows["malignant"].notna()]
    return {
        str(fold): area_under_curve(ranking_score(part).to_numpy(dtype=float), part["malignant"].to_numpy(dtype=float))
        for fold, part in known.groupby("fold", sort=True)
    }


def accuracy_at(rows: pd.DataFrame) -> float:
    """Accuracy at the threshold that each row's validation fold chose; NaN where one has none."""
    threshold = rows.get("malignancy_threshold")
    if threshold is None or threshold.isna().any() or rows.empty:
        return float("nan")
    return float(((rows["malignancy_prob"] >= threshold) == (rows["malignant"] > 0.5)).mean())


def reliability(probability: np.ndarray, label: np.ndarray) -> pd.DataFrame:
    """Reliability table: ``predicted`` and ``observed`` mean and ``nodules`` of each non-empty probability decile.

    Args:
        probability: ``[N]``, 0..1.
        label: ``[N]``, 1 or 0.
    """
    tenth = np.minimum((np.asarray(probability) * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"tenth": tenth, "predicted": probability, "observed": label, "nodules": 1})
    return table.groupby("tenth").agg({"predicted": "mean", "observed": "mean", "nodules": "sum"})


def calibration_error(probability: np.ndarray, label: np.ndarray) -> float:
    """Expected calibration error: mean distance of both columns of :func:`reliability`, weighted by nodules."""
    if not len(probability):
        return float("nan")
    bins = reliability(probability, label)
    return float(np.average((bins["predicted"] - bins["observed"]).abs(), weights=bins["nodules"]))


def rank_correlation(one: pd.Series, other: pd.Series) -> float:
    """Spearman correlation of two columns of a table; NaN if either is constant."""
    if one.nunique() < 2 or other.nunique() < 2:
        return float("nan")
    return float(one.rank().corr(other.rank()))
