"""Baselines on measurements of the networks' own masks."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from lung_nodule.benchmark.baselines.baseline_rows import rows_of
from lung_nodule.benchmark.baselines.fitting import high_columns, malignancy_columns, rating_columns
from lung_nodule.benchmark.baselines.methods_without_network import own_radiomics, own_size
from lung_nodule.benchmark.baselines.splits import Split
from lung_nodule.core import MEASUREMENTS

MEASURED = [f"mask_{name}" for name in MEASUREMENTS]
SIZE = ["mask_log_volume", "mask_calcified"]


def own_mask_rows(splits: Sequence[Split], test: pd.DataFrame, validation: pd.DataFrame) -> pd.DataFrame:
    """Rows of both baselines for every network and seed with mask measurements.

    A network has no masks of its training nodules, so the models are fitted on the same measurements of the readers'
    masks and predict from those of the network's masks.

    Args:
        splits: splits of the nodules, with ``true_<name>`` of every measurement.
        test: rows of the networks on the test folds.
        validation: rows of the networks on the validation folds, with the test fold in ``fold``; empty for given
            weights.
    """
    tables = []
    if not set(MEASURED) <= set(test.columns):
        return pd.DataFrame()
    measured = test[test[MEASURED].notna().any(axis=1)]
    for (bundle, _), rows in measured.groupby(["method", "seed"], dropna=False, sort=False):
        for split in splits:
            tables += _of_fold(str(bundle), split, rows, validation)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _of_fold(bundle: str, split: Split, rows: pd.DataFrame, validation: pd.DataFrame) -> list[pd.DataFrame]:
    own = rows[rows["nodule_id"].isin(split.test["nodule_id"])]
    if own.empty:
        return []
    seen = _validation_rows(bundle, own, validation)
    names = {f"true_{name}": f"mask_{name}" for name in MEASUREMENTS}
    train = split.train.rename(columns=names)
    masked = Split(train, split.validation.rename(columns=names) if seen.empty else seen, own)
    every = [malignancy_columns(masked, MEASURED), rating_columns(masked, MEASURED), high_columns(masked, MEASURED)]
    return [
        rows_of(own_size(bundle), own, malignancy_columns(masked, SIZE)),
        rows_of(own_radiomics(bundle), own, *every),
    ]


def _validation_rows(bundle: str, own: pd.DataFrame, validation: pd.DataFrame) -> pd.DataFrame:
    """Rows of the same network on its validation fold."""
    if validation.empty:
        return validation
    fold, seed = own["fold"].iloc[0], own["seed"].iloc[0]
    return validation[(validation["method"] == bundle) & (validation["fold"] == fold) & (validation["seed"] == seed)]
