"""Fit a baseline on a split's training nodules and predict the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from lung_nodule.benchmark.baselines.models import logistic, support_vectors
from lung_nodule.benchmark.baselines.splits import Split
from lung_nodule.benchmark.predictions import youden_threshold
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES
from sklearn.pipeline import Pipeline

STRENGTH = 0.1
"""C of the regression with many features; fixed, not tuned."""
MANY = 15
"""Largest number of features that is fitted with C = 1."""


def malignancy_columns(split: Split, columns: Sequence[str]) -> pd.DataFrame:
    """Probability and threshold of a logistic regression, for the test nodules.

    Args:
        split: nodules; those with a class are fitted.
        columns: names of the measurements.
    """
    known = split.train[split.train["malignant"].notna()]
    strength = 1.0 if len(columns) <= MANY else STRENGTH
    model = fit_model(logistic(strength=strength), known, columns, known["malignant"])
    probability = [_probability(model, part, columns) for part in (split.validation, split.test)]
    threshold = youden_threshold(probability[0], split.validation["malignant"].to_numpy(dtype=float))
    return pd.DataFrame({"malignancy_prob": probability[1], "malignancy_threshold": threshold}, index=split.test.index)


def rating_columns(split: Split, columns: Sequence[str], model: Pipeline | None = None) -> pd.DataFrame:
    """``<attribute>_pred`` of a regression per attribute, on the readers' scale, for the test nodules.

    Args:
        split: nodules.
        columns: names of the measurements.
        model: model, refitted for each attribute; support vector regression by default.
    """
    model = model or support_vectors()
    predicted = {}
    for name in ATTRIBUTES:
        fit_model(model, split.train, columns, split.train[f"{name}_mean"])
        predicted[f"{name}_pred"] = model.predict(_matrix(split.test, columns))
    return pd.DataFrame(predicted, index=split.test.index)


def high_columns(split: Split, columns: Sequence[str]) -> pd.DataFrame:
    """``<attribute>_prob`` of a logistic regression per binarised attribute, for the test nodules."""
    predicted = {}
    for name, threshold in ATTRIBUTE_THRESHOLDS.items():
        high = split.train[f"{name}_mean"] >= threshold
        if high.all() or not high.any():
            predicted[f"{name}_prob"] = np.full(len(split.test), float(high.mean()))
            continue
        model = fit_model(logistic(strength=STRENGTH), split.train, columns, high.astype(float))
        predicted[f"{name}_prob"] = _probability(model, split.test, columns)
    return pd.DataFrame(predicted, index=split.test.index)


def fit_model(model: Pipeline, rows: pd.DataFrame, columns: Sequence[str], target: pd.Series) -> Pipeline:
    """Fit a model in place and return it."""
    return model.fit(_matrix(rows, columns), target.to_numpy(dtype=float))


def _probability(model: Pipeline, rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    return model.predict_proba(_matrix(rows, columns))[:, 1]


def _matrix(rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    return rows[list(columns)].to_numpy(dtype=float)
