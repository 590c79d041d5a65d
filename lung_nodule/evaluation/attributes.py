"""Attributes against the readers' ratings, each beside the constant that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.evaluation.classification import area_under_curve
from sklearn.metrics import balanced_accuracy_score


def attribute_results(table: pd.DataFrame, medians: Mapping[str, float]) -> dict[str, dict[str, Any]] | None:
    """The section ``attributes`` of ``metrics.json``; None for a method that predicts none.

    Args:
        table: the rows of ``predictions.csv``. Rated attributes stand in ``<a>_pred`` and ``<a>_mean`` (MTMR-Net,
            Table 2: mean absolute error on the original scale), binarised ones in ``<a>_prob`` and ``<a>_high``.
        medians: per rated attribute the median of the training nodules, the constant predictor.
    """
    rated = [column.removesuffix("_pred") for column in table if column.endswith("_pred")]
    binary = [column.removesuffix("_high") for column in table if column.endswith("_high")]
    results = {name: _rated(table, name, medians.get(name)) for name in rated}
    results |= {name: _binary(table, name) for name in binary}
    return results or None


def _rated(table: pd.DataFrame, name: str, median: float | None) -> dict[str, Any]:
    reference = table[f"{name}_mean"]
    baseline = float("nan") if median is None else float((reference - median).abs().mean())
    return {"mae": float((table[f"{name}_pred"] - reference).abs().mean()), "baseline_mae": baseline}


def _binary(table: pd.DataFrame, name: str) -> dict[str, Any]:
    high, score = table[f"{name}_high"].to_numpy() > 0.5, table[f"{name}_prob"].to_numpy()
    both = len(np.unique(high)) == 2
    share = float(high.mean())
    return {
        "accuracy": float(((score >= 0.5) == high).mean()),
        "balanced_accuracy": float(balanced_accuracy_score(high, score >= 0.5)) if both else float("nan"),
        "auc": area_under_curve(score, high),
        "baseline_accuracy": max(share, 1 - share),
    }
