"""Figures of the attributes: error and rank correlation of ratings, AUC and accuracy of high against low."""

from __future__ import annotations

import numpy as np
import pandas as pd
from lung_nodule.benchmark.figures.classification_figures import rank_correlation
from lung_nodule.evaluation.metrics import area_under_curve
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES

ENDS = ("score", "prob", "pred")
"""Endings of the columns that rank an attribute; the first that a method has is taken."""


def rated_attributes(rows: pd.DataFrame) -> list[str]:
    """Attributes whose rating a method predicts."""
    return [name for name in ATTRIBUTES if f"{name}_pred" in rows and rows[f"{name}_pred"].notna().any()]


def binarised_attributes(rows: pd.DataFrame) -> list[str]:
    """Attributes that a method ranks: it predicts high against low, or the rating."""
    return [name for name in ATTRIBUTE_THRESHOLDS if _column(rows, name)]


def attribute_score(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Ranking score of an attribute: ``<attribute>_score`` where a method has one, else its probability of being high,
    else its rating. The references have no say in it."""
    return rows[_column(rows, name)].to_numpy(dtype=float)


def _column(rows: pd.DataFrame, name: str) -> str | None:
    """Column that ranks an attribute."""
    there = (f"{name}_{end}" for end in ENDS)
    return next((column for column in there if column in rows and rows[column].notna().any()), None)


def is_called_high(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Whether the probability, or else the rating, says that an attribute is high."""
    if f"{name}_prob" in rows and rows[f"{name}_prob"].notna().any():
        return rows[f"{name}_prob"].to_numpy(dtype=float) >= 0.5
    return rows[f"{name}_pred"].to_numpy(dtype=float) >= ATTRIBUTE_THRESHOLDS[name]


def is_ranked(rows: pd.DataFrame, name: str) -> pd.Series:
    """Whether a nodule has the score that ranks an attribute."""
    return rows[_column(rows, name)].notna()


def is_high(rows: pd.DataFrame, name: str) -> pd.Series:
    """Whether the readers' mean reaches the attribute's threshold: 1.0 or 0.0."""
    return (rows[f"{name}_mean"] >= ATTRIBUTE_THRESHOLDS[name]).astype(float)


def attribute_figures(rows: pd.DataFrame) -> dict[str, float]:
    """Figures of one method and seed.

    Args:
        rows: table with ``<attribute>_mean``, and ``<attribute>_pred`` or ``<attribute>_prob`` or both; the AUC is that
            of :func:`attribute_score`.

    Returns:
        ``<attribute>_mae`` and ``_spearman`` of ratings, ``_auc`` and ``_accuracy`` of high against low.
    """
    figures: dict[str, float] = {}
    for name in rated_attributes(rows):
        known = rows[rows[f"{name}_pred"].notna()]
        figures[f"{name}_mae"] = float((known[f"{name}_pred"] - known[f"{name}_mean"]).abs().mean())
        figures[f"{name}_spearman"] = rank_correlation(known[f"{name}_pred"], known[f"{name}_mean"])
    for name in binarised_attributes(rows):
        known = rows[is_ranked(rows, name)]
        high = is_high(known, name).to_numpy()
        figures[f"{name}_auc"] = area_under_curve(attribute_score(known, name), high)
        figures[f"{name}_accuracy"] = float((is_called_high(known, name) == (high > 0.5)).mean())
    return figures
