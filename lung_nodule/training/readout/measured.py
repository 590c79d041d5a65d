"""Fit the ratings that a nodule's measurements alone give, on the training nodules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.core import NoduleView
from lung_nodule.errors import InputError
from lung_nodule.runtime.progress_bar import progress
from sklearn.svm import SVR

DIGITS = 5
"""Significant digits that are kept of a number."""
STRENGTH = 1.0
"""C of the support vector regression; fixed, not tuned."""


def fit_measured_ratings(
    data: Sequence[Mapping[str, Any]], *, load: Callable[[Any], Any], view: NoduleView, ratings: Sequence[str]
) -> dict[str, Any]:
    """Measure nodules as a view does, within the readers' mask where it segments, and fit their ratings.

    Args:
        data: datalist of training nodules, with ``<rating>_mean``, ``mask`` and what the view needs.
        load: function that loads the arrays of an item.
        view: view of the model.
        ratings: ``malignancy`` and names of :data:`lung_nodule.lidc.ATTRIBUTES`.

    Returns:
        settings of :class:`lung_nodule.core.MeasuredRatings`.

    Raises:
        InputError: no nodule has all measurements and ratings.
    """
    rows = []
    with progress(len(data), description="measure nodules", unit="nodule") as step:
        for item in data:
            rows.append(_row(load(item), view, ratings))
            step()
    return fitted_measured_ratings(pd.DataFrame(rows), ratings=ratings)


def fitted_measured_ratings(table: pd.DataFrame, *, ratings: Sequence[str]) -> dict[str, Any]:
    """Fit support vector regressions with a radial kernel: of the median, as the errors of ratings are absolute ones.

    All nodules are the support of every rating. Nodules without a class are among them, as their ratings are known.

    Args:
        table: table with a row per nodule: measurements, and ``<rating>_mean`` of every rating.
        ratings: names of the ratings.

    Returns:
        settings of :class:`lung_nodule.core.MeasuredRatings`.

    Raises:
        InputError: no nodule has all measurements and ratings.
    """
    references = [f"{name}_mean" for name in ratings]
    features = [str(name) for name in table if name not in references]
    usable = table[np.isfinite(table.to_numpy(float)).all(axis=1)] if len(table) else table
    if usable.empty:
        raise InputError(
            f"none of {len(table)} training nodules has a mask and the readers' ratings of {', '.join(ratings)}: leave "
            "measured_malignancy out of --readout_features"
        )
    values = usable[features].to_numpy(float)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    support, gamma = (values - mean) / deviation, 1 / len(features)
    fitted = {name: _regression(support, usable[f"{name}_mean"].to_numpy(float), gamma) for name in ratings}
    return {
        "features": features,
        "mean": _text(mean),
        "deviation": _text(deviation),
        "gamma": gamma,
        "support": [_text(row) for row in support],
        "ratings": fitted,
    }


def _row(nodule: Mapping[str, Any], view: NoduleView, ratings: Sequence[str]) -> dict[str, float]:
    """Measurements and ratings of a nodule."""
    mask = np.asarray(nodule["mask"]) > 0 if view.segments else None
    measured = view.measure_nodule(
        np.asarray(nodule["ct"]), nodule["spacing"], nodule["center"], mask=mask, diameter=nodule.get("diameter_mm")
    )
    return {**measured, **{f"{name}_mean": float(nodule[f"{name}_mean"]) for name in ratings}}


def _regression(support: np.ndarray, rating: np.ndarray, gamma: Any) -> dict[str, Any]:
    """Weight of every nodule, and the intercept."""
    model = SVR(C=STRENGTH, epsilon=0.0, gamma=gamma).fit(support, rating)
    weights = np.zeros(len(rating))
    weights[model.support_] = model.dual_coef_[0]
    return {"weights": _text(weights), "intercept": float(model.intercept_[0])}


def _text(values: np.ndarray) -> str:
    """Numbers with spaces between them, which takes a fraction of the lines of a list."""
    return " ".join(f"{value:.{DIGITS}g}" for value in values)
