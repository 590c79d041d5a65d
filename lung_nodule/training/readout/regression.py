"""The regressions of a read-out, on nodules that the network was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.core import LOGIT, OF_MEASUREMENTS
from lung_nodule.errors import InputError
from lung_nodule.lidc import ATTRIBUTES
from sklearn.linear_model import LogisticRegression, QuantileRegressor

PENALTY = 1.0
"""Penalty of the logistic regression (L2, on standardized features)."""
MEDIAN_PENALTY = 0.01
"""Penalty of the attributes' median regressions (L1, on standardized features)."""
KNOWN = ("nodule_id", "patient_id", "malignant")
"""Columns besides features and ratings."""
MEASURED = ("mask_", "ball_", "core_")
"""Prefixes of the names of measurements."""
MEASURED_MALIGNANCY = f"{OF_MEASUREMENTS}malignancy"
"""The feature with which a read-out takes the ratings that the measurements alone give."""


def fitted_readout(table: pd.DataFrame, *, features: Sequence[str], attributes: Sequence[str] = ()) -> dict[str, Any]:
    """Fit a read-out, in the form that :meth:`lung_nodule.core.Readout.from_settings` takes.

    ``nodules`` counts those with a class where malignancy alone is read out; ``patients`` lists those of the fit.

    Malignancy is read from ``features``, an attribute from the network's own rating of it, its ``logit``, the logits of
    its attributes, and every measurement. The attributes' regressions are of the median, as their error is an absolute
    one and their ratings pile up at the ends of the scales; an L1 penalty leaves out what does not help.

    With the feature ``measured_malignancy``, an attribute is read from ``measured_<attribute>`` in place of all
    measurements, and is the mean of that rating and of the regression: the nodules of the fit are few.

    Args:
        table: table with a row per nodule: ``patient_id``, the features, ``malignant`` (1, 0 or NaN) and
            ``<attribute>_mean``.
        features: names of its columns.
        attributes: ratings to be read out.

    Raises:
        InputError: a feature does not exist, or the nodules that have all of them lack a class.
    """
    logits = [str(name) for name in table if str(name).endswith(LOGIT)]
    measured = [str(name) for name in table if str(name).startswith(MEASURED)]
    used = {"malignancy": list(features)}
    for name in attributes:
        taken = [f"{OF_MEASUREMENTS}{name}"] if MEASURED_MALIGNANCY in features else measured
        used[name] = ["logit", *([name] if name in table else []), *logits, *taken]
    every = list(dict.fromkeys(name for names in used.values() for name in names))
    missing = [name for name in every if name not in table]
    if missing:
        raise InputError(f"the read-out has no {', '.join(missing)}: name some of {', '.join(_numbers(table))}")
    usable = table[np.isfinite(table[every].to_numpy(float)).all(axis=1)]
    if usable["malignant"].dropna().nunique() < 2:
        raise InputError(
            f"no read-out can be fitted: the {len(usable)} of {len(table)} nodules that have all of {', '.join(every)} "
            "are not of both classes; a longer training may leave fewer empty masks"
        )
    values = usable[every]
    mean, deviation = values.mean(), values.std(ddof=0)
    deviation = deviation.where(deviation > 0, 1.0)
    standardized = (values - mean) / deviation
    return {
        "mean": mean.to_dict(),
        "deviation": deviation.to_dict(),
        "outputs": {
            name: _output(name, standardized[names], usable, values.get(f"{OF_MEASUREMENTS}{name}"))
            for name, names in used.items()
        },
        "nodules": len(usable) if attributes else int(usable["malignant"].notna().sum()),
        "patients": sorted(set(usable["patient_id"])),
    }


def _output(name: str, standardized: pd.DataFrame, nodules: pd.DataFrame, measured: pd.Series | None) -> dict[str, Any]:
    """Weights by feature, and the intercept, of one output.

    Args:
        name: ``malignancy`` or an attribute.
        standardized: features of the output.
        nodules: references.
        measured: the rating that the measurements alone give, with which an attribute's regression is averaged.
    """
    if name == "malignancy":
        rows = nodules["malignant"].notna()
        model: Any = LogisticRegression(C=1 / PENALTY, max_iter=1000)
        model.fit(standardized[rows], nodules.loc[rows, "malignant"] > 0.5)
    else:
        model = QuantileRegressor(quantile=0.5, alpha=MEDIAN_PENALTY)
        model.fit(standardized, nodules[f"{name}_mean"])
    weights = dict(zip(map(str, standardized), np.ravel(model.coef_).tolist(), strict=True))
    intercept = float(np.ravel(model.intercept_)[0])
    if name == "malignancy" or measured is None:
        return {"weights": weights, "intercept": intercept}
    halved = {feature: weight / 2 for feature, weight in weights.items()}
    halved[str(measured.name)] += float(measured.std(ddof=0)) / 2
    return {"weights": halved, "intercept": (intercept + float(measured.mean())) / 2}


def _numbers(table: pd.DataFrame) -> list[str]:
    others = {*KNOWN, *(f"{name}_mean" for name in ATTRIBUTES)}
    return [str(name) for name in table if name not in others]
