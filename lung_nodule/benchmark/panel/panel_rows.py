"""The panel: mean of the networks' predictions, as the served panel answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from lung_nodule.benchmark.predictions import REFERENCES, youden_threshold
from lung_nodule.lidc import ATTRIBUTES

PANEL = "panel"
"""Method name of the panel."""
CELL = ["fold", "seed"]
RATINGS = [f"{name}_pred" for name in ATTRIBUTES]


def panel_rows(test: pd.DataFrame, validation: pd.DataFrame) -> pd.DataFrame:
    """Rows of the panel for every nodule and seed that all networks with a malignancy have predicted.

    Nothing is fitted. ``malignancy_spread`` is the largest minus the smallest probability of the networks, a rating the
    mean of the networks that predict it; ``malignancy_threshold`` is chosen on the validation folds.

    Args:
        test: rows of the networks on the test folds.
        validation: rows of the networks on the validation folds, with the test fold in ``fold``; empty for given
            weights.

    Returns:
        The rows; empty for a single network.
    """
    mean = _mean_rows(test)
    chosen_on = _mean_rows(validation) if len(validation) else validation
    if mean.empty or chosen_on.empty:
        return mean.assign(malignancy_threshold=np.nan)
    thresholds = [
        {**dict(zip(CELL, cell, strict=True)), "malignancy_threshold": _threshold(rows)}
        for cell, rows in chosen_on.groupby(CELL)
    ]
    return mean.merge(pd.DataFrame(thresholds), on=CELL, how="left")


def _mean_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per nodule and seed: references and means over the networks."""
    rows = rows[rows["malignancy_prob"].notna()]
    networks = rows["method"].nunique()
    grouped = rows.groupby(["nodule_id", *CELL], dropna=False, sort=False)
    whole = grouped["method"].transform("nunique") == networks
    if networks < 2 or not whole.any():
        return pd.DataFrame()
    kept = rows[whole]
    grouped = kept.groupby(["nodule_id", *CELL], dropna=False, sort=False)
    scores, ratings = grouped["malignancy_prob"], [column for column in RATINGS if column in kept]
    first = grouped.head(1).set_index(["nodule_id", *CELL])
    references = first[[column for column in ("patient_id", *REFERENCES) if column in first]]
    found = references.assign(malignancy_prob=scores.mean(), malignancy_spread=scores.max() - scores.min())
    return found.join(grouped[ratings].mean()).reset_index().assign(method=PANEL)


def _threshold(rows: pd.DataFrame) -> float:
    return youden_threshold(rows["malignancy_prob"].to_numpy(), rows["malignant"].to_numpy())
