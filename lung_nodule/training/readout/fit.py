"""Fit a model's read-out on nodules that the network was not trained on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import pandas as pd
from ignite.engine import Engine, Events
from lung_nodule.core import MeasuredRatings, NoduleView, features_of
from lung_nodule.data import ViewNodule, gather_rows
from lung_nodule.io import write_json
from lung_nodule.networks import read_settings
from lung_nodule.training.aggregation import Aggregate
from lung_nodule.training.batches import PrepareTargets
from lung_nodule.training.loaders import ValidationLoader
from lung_nodule.training.randomness import run
from lung_nodule.training.readout.file import attributes_of, read_readout, require_score
from lung_nodule.training.readout.measured import fit_measured_ratings
from lung_nodule.training.readout.regression import KNOWN, MEASURED_MALIGNANCY, fitted_readout
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from monai.transforms import Compose
from torch import nn
from torch.utils.data import DataLoader

logger = logging.getLogger(__name__)


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
    training_data: Sequence[Mapping[str, Any]] = (),
    device: Any = "cpu",
) -> None:
    """Fit a trained network's read-out on validation nodules, or take a fitted one; write it into the side file.

    Nothing is done without features. Of several ranks, each runs its own nodules, and the first fits on all of them.
    The fit is that of :func:`fitted_readout`. With the feature ``measured_malignancy``, regressions of the ratings on
    measurements are fitted on the training nodules first, and the read-outs take what these give.

    Args:
        model_path: path of the ``.pt`` file, whose side file gets the entry ``readout``.
        network: network that gives the view's one tensor.
        data: datalist of validation nodules, with ``malignant`` and the attributes' means.
        load: function that loads the arrays of an item.
        inferer: inferer that runs the network.
        view: view of the model, with its flips, without a read-out.
        features: names of :func:`lung_nodule.core.features_of`.
        attributes: ratings to be read out.
        file: file of a read-out that was fitted elsewhere, such as the benchmark's; only ratings from measurements are
            fitted then, where it takes them.
        training_data: datalist of the training nodules, with a class or without, with the ratings' means.
        device: device of the network.

    Raises:
        InputError: the network gives no malignancy, a feature does not exist, no nodule has all of them, or the file
            holds no read-out.
    """
    if not features and not file:
        return
    require_score(view.has_score, features=features, file=file)
    given = read_readout(file) if file else None
    loader = ValidationLoader(Dataset(data, Compose([load, ViewNodule(view)])))
    rows = [] if given else _rows(network, loader, inferer, view, attributes, device)
    if idist.get_rank() == 0:
        ratings = _taken_ratings(given["mean"], attributes_of(given)) if given else _taken_ratings(features, attributes)
        measured = fit_measured_ratings(training_data, load=load, view=view, ratings=ratings) if ratings else None
        fitted = given or fitted_readout(_with_ratings(rows, measured), features=features, attributes=attributes)
        _store(Path(model_path), {**fitted, "measured": measured} if measured else fitted)
    idist.barrier()


def _taken_ratings(features: Iterable[str], attributes: Iterable[str]) -> list[str]:
    """The ratings that a read-out takes from measurements; empty where it takes none."""
    return ["malignancy", *attributes] if MEASURED_MALIGNANCY in features else []


def _with_ratings(rows: Sequence[Mapping[str, Any]], measured: Mapping[str, Any] | None) -> pd.DataFrame:
    """The table of the nodules' features, with the ratings that their measurements alone give."""
    ratings = MeasuredRatings.from_settings(measured)
    return pd.DataFrame(list(rows) if ratings is None else [{**row, **ratings(row)} for row in rows])


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


def _row(engine: Engine, attributes: Sequence[str]) -> dict[str, Any]:
    """The features of an iteration's nodule, its class and its ratings."""
    nodule = cast(dict[str, Any], {**cast(Mapping, engine.state.batch), **cast(Mapping, engine.state.output)})
    rated = {f"{name}_mean": nodule[f"{name}_mean"] for name in attributes}
    known = {name: nodule[name] for name in KNOWN}
    return {**known, **features_of(nodule["prediction"]), **rated}
