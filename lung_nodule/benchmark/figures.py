"""All figures of a method: per seed, then their mean and spread over the seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.benchmark.attribute_figures import attribute_figures, binarised, rated
from lung_nodule.benchmark.classification_figures import classification_figures, fold_aucs, scores_malignancy
from lung_nodule.benchmark.mask_figures import mask_figures

Figures = dict[str, float]


def by_seed(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """A method's rows seed by seed; one table where it has no seeds."""
    return [part for _, part in rows.groupby("seed", dropna=False, sort=True)]


def method_figures(rows: pd.DataFrame) -> dict[str, Any]:
    """The figures of one method.

    Args:
        rows: its rows of the long table.

    Returns:
        ``nodules``, ``patients``, ``seeds``; then, where the method predicts it, ``malignancy``, ``masks`` and
        ``attributes``: by figure ``mean`` and ``spread`` (standard deviation over the seeds; None for one).
    """
    seeds = by_seed(rows)
    sections: dict[str, tuple[bool, Callable[[pd.DataFrame], Figures]]] = {
        "malignancy": (scores_malignancy(rows), classification_figures),
        "fold_auc": (scores_malignancy(rows), fold_aucs),
        "masks": ("dice_voi" in rows and bool(rows["dice_voi"].notna().any()), mask_figures),
        "attributes": (bool(rated(rows) or binarised(rows)), attribute_figures),
    }
    figures = {name: over_seeds([compute(part) for part in seeds]) for name, (has, compute) in sections.items() if has}
    return {
        "nodules": int(rows["nodule_id"].nunique()),
        "patients": int(rows["patient_id"].nunique()),
        "seeds": len(seeds) if rows["seed"].notna().any() else None,
        **figures,
    }


def over_seeds(figures: list[Figures]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation of each figure over the seeds that have it, of folds by their number.

    A seed one of whose cells failed lacks a fold, which the others may have.
    """
    names = sorted(dict.fromkeys(name for figure in figures for name in figure), key=_fold_number)
    values = {name: [figure[name] for figure in figures if name in figure] for name in names}
    return {
        name: {"mean": float(np.mean(each)), "spread": float(np.std(each, ddof=1)) if len(each) > 1 else None}
        for name, each in values.items()
    }


def _fold_number(name: str) -> float:
    """Sorts numbered folds by their number, and leaves all other names as they are, after them."""
    return int(name) if name.isdigit() else math.inf


def mean_of(figures: dict[str, Any], section: str, name: str) -> float | None:
    """The mean of a figure; None where a method does not have it."""
    value = figures.get(section, {}).get(name, {}).get("mean")
    return None if value is None or not math.isfinite(value) else value
