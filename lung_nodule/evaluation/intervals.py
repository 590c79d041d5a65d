"""Confidence intervals that respect patients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd


def bootstrap_interval(
    table: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float],
    *,
    group: str = "patient_id",
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[float] | None:
    """Percentile bootstrap interval of a statistic over patients, whose nodules are drawn together.

    Args:
        table: a row per nodule.
        statistic: from rows to a number; draws where it is NaN (a class is missing) are left out.
        group: the column of the patients.
        draws: bootstrap samples.
        level: coverage.
        seed: of the draws; the same table gives the same interval.

    Returns:
        ``[low, high]``, or None with fewer than two patients or where no draw gives a number.
    """
    rows = [np.flatnonzero(table[group] == patient) for patient in table[group].unique()]
    if len(rows) < 2:
        return None
    random = np.random.default_rng(seed)
    values = [
        statistic(table.iloc[np.concatenate([rows[i] for i in random.integers(len(rows), size=len(rows))])])
        for _ in range(draws)
    ]
    values = [value for value in values if np.isfinite(value)]
    tail = (1 - level) / 2
    return [float(np.quantile(values, q)) for q in (tail, 1 - tail)] if values else None
