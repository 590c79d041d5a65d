"""Fit a model's read-out on nodules that the network was not trained on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import numpy as np
import pandas as pd
from ignite.engine import Engine, Events
from lung_nodule.core import LOGIT, NoduleView, Readout, features_of
from lung_nodule.data import ViewNodule, gather_rows
from lung_nodule.errors import InputError
from lung_nodule.io import write_json
from lung_nodule.lidc import ATTRIBUTES
from lung_nodule.networks import read_settings
from lung_nodule.training.aggregation import Aggregate
from lung_nodule.training.batches import PrepareTargets
from lung_nodule.training.loaders import ValidationLoader
from lung_nodule.training.randomness import run
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from monai.transforms import Compose
from sklearn.linear_model import LogisticRegression, QuantileRegressor
from torch import nn
from torch.utils.data import DataLoader

logger = logging.getLogger(__name__)

PENALTY = 1.0
"""Penalty of the logistic regression (L2, on standardized features)."""
MEDIAN_PENALTY = 0.01
"""Penalty of the attributes' median regressions (L1, on standardized features)."""
KNOWN = ("nodule_id", "patient_id", "malignant")
MEASURED = ("mask_", "ball_", "core_")
"""Prefixes of the names of measurements."""


def fit_readout(
    model_path: str | Path,
    *,
    network: nn.Module,
    data: Sequence[Mapping[str, Any]],
    load: Callable[[Any], Any],
    inferer: Inferer,
    view: NoduleView,
    features: Sequence[str],
    attributes: Sequence[str] = (),
    file: str | Path | None = None,
    device: Any = "cpu",
) -> None:
    """Fit a trained network's read-out on validation nodules, or take a fitted one; write it into the side file.

    Nothing is done without features. Of several ranks, each runs its own nodules, and the first fits on all of them.
    The fit is that of :func:`fitted_readout`.

    Args:
        model_path: path of the ``.pt`` file, whose side file gets the entry ``readout``.
        network: network that gives the view's one tensor.
        data: datalist of validation nodules, with ``malignant`` and the attributes' means.
        load: function that loads the arrays of an item.
        inferer: inferer that runs the network.
        view: view of the model, with its flips, without a read-out.
        features: names of :func:`lung_nodule.core.features_of`.
        attributes: ratings to be read out.
        file: file of a read-out that was fitted elsewhere, such as the benchmark's; nothing is fitted then.
        device: device of the network.

    Raises:
        InputError: the network gives no malignancy, a feature does not exist, no nodule has all of them, or the file
            holds no read-out.
    """
    if features or file:
        require_score(view.has_score, features=features, file=file)
        loader = ValidationLoader(Dataset(data, Compose([load, ViewNodule(view)])))
        rows = [] if file else _rows(network, loader, inferer, view, attributes, device)
        if idist.get_rank() == 0:
            fitted = (
                read_readout(file)
                if file
                else fitted_readout(pd.DataFrame(rows), features=features, attributes=attributes)
            )
            _store(Path(model_path), fitted)
        idist.barrier()


def require_score(has_score: bool, *, features: Sequence[str], file: str | Path | None = None) -> None:
    """Refuse a read-out of a network that gives no malignancy.

    Args:
        has_score: whether the network gives malignancy, as :attr:`lung_nodule.core.NoduleView.has_score`.
        features: features of the read-out; empty for no read-out.
        file: file of a read-out that was fitted elsewhere.

    Raises:
        InputError: there is a read-out and no malignancy.
    """
    if not has_score and (features or file):
        raise InputError(
            'a network that gives no malignancy (--multi_task False) has no read-out: use --readout_features "[]" '
            '--readout_attributes "[]", without --readout_file'
        )


def read_readout(path: str | Path) -> dict[str, Any]:
    """A fitted read-out from a file.

    Raises:
        InputError: the file is missing, or does not hold a read-out.
    """
    try:
        readout = json.loads(Path(path).read_text(encoding="utf-8"))
        Readout.from_settings(readout)
        return {**readout, "nodules": int(readout["nodules"]), "patients": list(map(str, readout["patients"]))}
    except OSError as error:
        raise InputError(f"no read-out at {path}: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no read-out ({error!r}): name a file that the benchmark wrote") from error


def _rows(
    network: nn.Module, loader: DataLoader, inferer: Inferer, view: NoduleView, attributes: Sequence[str], device: Any
) -> list[dict[str, Any]]:
    """The rows of all ranks' nodules."""
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=loader,
        network=network,
        inferer=inferer,
        prepare_batch=PrepareTargets("malignancy"),
        postprocessing=Aggregate(view, measure=True),
        decollate=False,
    )
    rows: list[dict[str, Any]] = []
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: rows.append(_row(engine, attributes)))
    run(evaluator, seed=0)
    return gather_rows(rows)


def _store(path: Path, readout: dict[str, Any]) -> None:
    """Put a read-out into the side file of weights, and add the patients used for the fit to `patients_seen`."""
    settings, patients = read_settings(path), readout.pop("patients")
    seen = sorted({*settings["patients_seen"], *patients})
    write_json(path.with_suffix(".json"), {**settings, "patients_seen": seen, "readout": readout})
    logger.info(f"{path}: a read-out of {', '.join(readout['mean'])}, fitted on {readout['nodules']} nodules")


def fitted_readout(table: pd.DataFrame, *, features: Sequence[str], attributes: Sequence[str] = ()) -> dict[str, Any]:
    """Fit a read-out, in the form that :meth:`lung_nodule.core.Readout.from_settings` takes.

    ``nodules`` counts those with a class where malignancy alone is read out; ``patients`` lists those of the fit.

    Malignancy is read from ``features``, an attribute from the network's own rating of it, its ``logit``, the logits of
    its attributes, and every measurement. The attributes' regressions are of the median, as their error is an absolute
    one and their ratings pile up at the ends of the scales; an L1 penalty leaves out what does not help.

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
        used[name] = ["logit", *([name] if name in table else []), *logits, *measured]
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
        "outputs": {name: _output(name, standardized[names], usable) for name, names in used.items()},
        "nodules": len(usable) if attributes else int(usable["malignant"].notna().sum()),
        "patients": sorted(set(usable["patient_id"])),
    }


def _output(name: str, standardized: pd.DataFrame, nodules: pd.DataFrame) -> dict[str, Any]:
    """Weights by feature, and the intercept, of one output."""
    if name == "malignancy":
        rows = nodules["malignant"].notna()
        model: Any = LogisticRegression(C=1 / PENALTY, max_iter=1000)
        model.fit(standardized[rows], nodules.loc[rows, "malignant"] > 0.5)
    else:
        model = QuantileRegressor(quantile=0.5, alpha=MEDIAN_PENALTY)
        model.fit(standardized, nodules[f"{name}_mean"])
    weights = dict(zip(map(str, standardized), np.ravel(model.coef_).tolist(), strict=True))
    return {"weights": weights, "intercept": float(np.ravel(model.intercept_)[0])}


def _row(engine: Engine, attributes: Sequence[str]) -> dict[str, Any]:
    """The features of an iteration's nodule, its class and its ratings."""
    nodule = cast(dict[str, Any], {**cast(Mapping, engine.state.batch), **cast(Mapping, engine.state.output)})
    rated = {f"{name}_mean": nodule[f"{name}_mean"] for name in attributes}
    known = {name: nodule[name] for name in KNOWN}
    return {**known, **features_of(nodule["prediction"]), **rated}


def _numbers(table: pd.DataFrame) -> list[str]:
    others = {*KNOWN, *(f"{name}_mean" for name in ATTRIBUTES)}
    return [str(name) for name in table if name not in others]
