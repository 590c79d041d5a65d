"""Table rows of the baselines without a network, fitted inside the folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from lung_nodule.benchmark.baselines.fitting import high_columns, malignancy_columns, rating_columns
from lung_nodule.benchmark.baselines.methods_without_network import (
    ATTRIBUTES_DIAMETER,
    ATTRIBUTES_ONLY,
    BALL,
    CONSTANT,
    CROP_EXTENT,
    DIAMETER,
    ELASTIC_NET,
    LASSO,
    RADIOMICS,
    RADIOMICS_FOUR,
    REGION,
    THRESHOLD,
    Baseline,
)
from lung_nodule.benchmark.baselines.models import elastic_net, lasso
from lung_nodule.benchmark.baselines.splits import Split
from lung_nodule.benchmark.measurements.nodule_measurements import radiomics_columns
from lung_nodule.benchmark.predictions import KEYS, REFERENCES
from lung_nodule.core import MEASUREMENTS
from lung_nodule.data import ATTRIBUTE_COLUMNS
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES


def fitted_rows(splits: Sequence[Split]) -> pd.DataFrame:
    """Fit all baselines on every split and return their test rows, method by method."""
    tables = [rows for split in splits for rows in _fit_all(split)]
    return pd.concat(tables, ignore_index=True)


def _fit_all(split: Split) -> list[pd.DataFrame]:
    measured = radiomics_columns(split.train)
    radiomics, four = malignancy_columns(split, measured), split.with_validation()
    of_four = malignancy_columns(four, measured).assign(malignancy_threshold=radiomics["malignancy_threshold"])
    within = [f"ball_{name}" for name in MEASUREMENTS]
    patients = split.train["patient_id"].to_numpy()
    every = [
        (CONSTANT, [constant_columns(split)]),
        (CROP_EXTENT, [_single(split, "crop_extent_mm")]),
        (DIAMETER, [_single(split, "diameter_mm")]),
        (ATTRIBUTES_ONLY, [malignancy_columns(split, ATTRIBUTE_COLUMNS)]),
        (ATTRIBUTES_DIAMETER, [malignancy_columns(split, [*ATTRIBUTE_COLUMNS, "diameter_mm"])]),
        (RADIOMICS, [radiomics, rating_columns(split, measured), high_columns(split, measured)]),
        (RADIOMICS_FOUR, [of_four, rating_columns(four, measured), high_columns(four, measured)]),
        (BALL, [malignancy_columns(split, within), rating_columns(split, within), high_columns(split, within)]),
        (LASSO, [rating_columns(split, measured, lasso(patients))]),
        (ELASTIC_NET, [rating_columns(split, measured, elastic_net(patients))]),
    ]
    return [rows_of(method, split.test, *columns) for method, columns in every]


def mask_rows(nodules: pd.DataFrame) -> pd.DataFrame:
    """Rows of the mask baselines that need no fitting.

    Args:
        nodules: test nodules with ``threshold_dice`` and ``region_dice``.
    """
    found = {THRESHOLD: "threshold_dice", REGION: "region_dice"}
    tables = [
        rows_of(method, nodules, nodules[[column]].rename(columns={column: "dice_voi"}))
        for method, column in found.items()
    ]
    return pd.concat(tables, ignore_index=True)


def ranking_rows(nodules: pd.DataFrame) -> pd.DataFrame:
    """Rows of diameter and crop extent as ranking scores without a probability, where nothing is fitted."""
    found = {CROP_EXTENT: "crop_extent_mm", DIAMETER: "diameter_mm"}
    tables = [
        rows_of(method, nodules).assign(malignancy_prob=np.nan, malignancy_score=nodules[column])
        for method, column in found.items()
    ]
    return pd.concat(tables, ignore_index=True)


def rows_of(method: Baseline, nodules: pd.DataFrame, *columns: pd.DataFrame) -> pd.DataFrame:
    """Rows of the long table: a method's columns next to the keys and references of the nodules."""
    kept = nodules[[column for column in (*KEYS, *REFERENCES) if column in nodules]]
    seed = nodules.get("seed", np.nan)
    return pd.concat([kept.assign(method=method.name, seed=seed), *columns], axis=1)


def _single(split: Split, column: str) -> pd.DataFrame:
    """Rank by a single measurement; its probability comes from a logistic regression."""
    return malignancy_columns(split, [column]).assign(malignancy_score=split.test[column])


def constant_columns(split: Split) -> pd.DataFrame:
    """Predict the same for every nodule; one score for all folds, as the class shares would rank the folds."""
    share = float(split.train["malignant"].mean())
    medians = {f"{name}_pred": float(split.train[f"{name}_mean"].median()) for name in ATTRIBUTES}
    high = {
        f"{name}_prob": float((split.train[f"{name}_mean"] >= threshold).mean() >= 0.5)
        for name, threshold in ATTRIBUTE_THRESHOLDS.items()
    }
    scores = {"malignancy_prob": share, "malignancy_score": 0.0, "malignancy_threshold": 0.5}
    ranks = {f"{name}_score": 0.0 for name in ATTRIBUTE_THRESHOLDS}
    return pd.DataFrame({**scores, **medians, **high, **ranks}, index=split.test.index)
