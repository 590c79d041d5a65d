"""All figures of a method: per seed, then their mean and spread over the seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.benchmark.figures.attribute_figures import attribute_figures, binarised_attributes, rated_attributes
from lung_nodule.benchmark.figures.classification_figures import classification_figures, fold_aucs, scores_malignancy
from lung_nodule.benchmark.figures.mask_figures import mask_figures

Figures = dict[str, float]


def by_seed(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Split a method's rows by seed; a single table without seeds."""
    return [part for _, part in rows.groupby("seed", dropna=False, sort=True)]


def method_figures(rows: pd.DataFrame) -> dict[str, Any]:
    """Compute the figures of one method.

    Args:
        rows: rows of the method in the long table.

    Returns:
        ``nodules``, ``patients``, ``seeds``; then, if predicted, ``malignancy``, ``masks`` and
        ``attributes``: by figure ``mean`` and ``spread`` (standard deviation over the seeds; None for one).
    """
    seeds = by_seed(rows)
    sections: dict[str, tuple[bool, Callable[[pd.DataFrame], Figures]]] = {
        "malignancy": (scores_malignancy(rows), classification_figures),
        "fold_auc": (scores_malignancy(rows), fold_aucs),
        "masks": ("dice_voi" in rows and bool(rows["dice_voi"].notna().any()), mask_figures),
        "attributes": (bool(rated_attributes(rows) or binarised_attributes(rows)), attribute_figures),
    }
    figures = {name: over_seeds([compute(part) for part in seeds]) for name, (has, compute) in sections.items() if has}
    return {
        "nodules": int(rows["nodule_id"].nunique()),
        "patients": int(rows["patient_id"].nunique()),
        "seeds": len(seeds) if rows["seed"].notna().any() else None,
        **figures,
    }


def over_seeds(figures: list[Figures]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation of each figure over the seeds that have it; folds are sorted by number.

    A seed with a failed cell lacks that fold.
    """
    names = sorted(dict.fromkeys(name for figure in figures for name in figure), key=_fold_number)
    values = {name: [figure[name] for figure in figures if name in figure] for name in names}
    return {
        name: {"mean": float(np.mean(each)), "spread": float(np.std(each, ddof=1)) if len(each) > 1 else None}
        for name, each in values.items()
    }


def _fold_number(name: str) -> float:
    """Sort key: fold number; other names come last, in their original order."""
    return int(name) if name.isdigit() else math.inf
