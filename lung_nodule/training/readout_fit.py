"""Fit a model's read-out on nodules that the network was not trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import numpy as np
import pandas as pd
from ignite.engine import Engine, Events
from lung_nodule.core import NoduleView, features_of
from lung_nodule.errors import InputError
from lung_nodule.io import write_json
from lung_nodule.networks import read_settings
from lung_nodule.training.aggregation import Aggregate
from lung_nodule.training.batches import PrepareTargets
from lung_nodule.training.randomness import run
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn
from torch.utils.data import DataLoader

logger = logging.getLogger(__name__)

PENALTY = 1.0
"""Of the logistic regression (L2, on standardized features)."""
RIDGE_PENALTY = 10.0
"""Of the attributes' linear regressions."""


def fit_readout(
    model_path: str | Path,
    *,
    network: nn.Module,
    loader: DataLoader,
    inferer: Inferer,
    view: NoduleView,
    features: Sequence[str],
    attributes: Sequence[str] = (),
    device: Any = "cpu",
) -> None:
    """Run a trained network on validation nodules, fit the read-out, and write it into the model's side file.

    A logistic regression from ``features`` to the class, and ridge regressions to the readers' mean ratings. Nothing is
    done without features, or on ranks other than the first.

    Args:
        model_path: the ``.pt`` file, whose side file gets the entry ``readout``.
        network: gives the view's one tensor.
        loader: of validation nodules, one a batch, with ``malignant`` and the attributes' means.
        inferer: runs the network.
        view: of the method, without a read-out.
        features: names, of :func:`lung_nodule.core.features_of`.
        attributes: the ratings to be read out.
        device: of the network.

    Raises:
        InputError: a feature does not exist, or no nodule has all of them.
    """
    if not features or idist.get_rank() > 0:
        return
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=loader,
        network=network,
        inferer=inferer,
        prepare_batch=PrepareTargets("malignancy"),
        postprocessing=Aggregate(view),
        decollate=False,
    )
    rows: list[dict[str, float]] = []
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: rows.append(_row(engine, view, attributes)))
    run(evaluator, seed=0)
    readout = fitted_readout(pd.DataFrame(rows), features=features, attributes=attributes)
    path = Path(model_path)
    write_json(path.with_suffix(".json"), {**read_settings(path), "readout": readout})
    logger.info(f"{path}: read-out of {', '.join(features)} fitted on {readout['nodules']} validation nodules")


def fitted_readout(table: pd.DataFrame, *, features: Sequence[str], attributes: Sequence[str] = ()) -> dict[str, Any]:
    """The read-out as :meth:`lung_nodule.core.Readout.from_settings` takes it, and how many nodules it was fitted on.

    Args:
        table: a row per nodule with the features, ``malignant`` (1, 0 or NaN) and ``<attribute>_mean``.
        features: names of its columns.
        attributes: the ratings to be read out.

    Raises:
        InputError: a feature does not exist, or the nodules that have all of them lack a class.
    """
    missing = [name for name in features if name not in table]
    if missing:
        raise InputError(f"the read-out has no {', '.join(missing)}: name some of {', '.join(_numbers(table))}")
    usable = table[np.isfinite(table[list(features)].to_numpy(float)).all(axis=1)]
    values = usable[list(features)].to_numpy(float)
    classified = usable["malignant"].notna().to_numpy()
    if usable.loc[classified, "malignant"].nunique() < 2:
        raise InputError("the read-out needs validation nodules of both classes with a mask: train longer")
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    standardized = (values - mean) / deviation
    logistic = LogisticRegression(C=1 / PENALTY, max_iter=1000)
    logistic.fit(standardized[classified], usable.loc[classified, "malignant"].to_numpy() > 0.5)
    outputs = {"malignancy": _output(logistic.coef_[0], logistic.intercept_[0])}
    for name in attributes:
        ridge = Ridge(RIDGE_PENALTY).fit(standardized, usable[f"{name}_mean"])
        outputs[name] = _output(ridge.coef_, ridge.intercept_)
    return {
        "features": list(features),
        "mean": mean.tolist(),
        "deviation": deviation.tolist(),
        "outputs": outputs,
        "nodules": len(usable),
    }


def _row(engine: Engine, view: NoduleView, attributes: Sequence[str]) -> dict[str, float]:
    """The features of an iteration's nodule, its class and its ratings."""
    nodule = cast(dict[str, Any], {**cast(Mapping, engine.state.batch), **cast(Mapping, engine.state.output)})
    measured = view.measured(nodule["prediction"], np.asarray(nodule["ct"]), nodule.get("diameter_mm"))
    rated = {f"{name}_mean": nodule[f"{name}_mean"] for name in attributes}
    return {**features_of(nodule["prediction"], measured), "malignant": nodule["malignant"], **rated}


def _output(weights: Any, intercept: Any) -> dict[str, Any]:
    return {"weights": np.asarray(weights, dtype=float).tolist(), "intercept": float(intercept)}


def _numbers(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table if name != "malignant" and not str(name).endswith("_mean")]
