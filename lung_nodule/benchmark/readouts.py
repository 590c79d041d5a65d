"""Read-outs for models trained on every fold, fitted on the test predictions of the cross-validation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.benchmark.cells.cell import Cell
from lung_nodule.benchmark.predictions import youden_threshold
from lung_nodule.core import LOGIT, NETWORK_SCORE, OF_NETWORK, logit
from lung_nodule.io import read_table, write_json
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS
from lung_nodule.training import fitted_readout


def write_readouts(folder: Path, cells: Sequence[Cell]) -> list[Path]:
    """Write ``<bundle>.json``, the ``--readout_file`` of a training, for every bundle whose models have a read-out.

    A model trained on every fold leaves no nodules to fit a read-out on. In the cross-validation every nodule was
    tested by a network that had not seen it, so the read-out is fitted on these predictions, over all seeds. Its
    threshold (highest sensitivity + specificity) is chosen on probabilities that were cross-fitted over the folds; of
    one fold alone, on those that it was fitted on.

    Args:
        folder: output folder.
        cells: finished cells.

    Returns:
        Paths of the files.
    """
    written = []
    for bundle in dict.fromkeys(cell.bundle for cell in cells):
        of_bundle = [cell for cell in cells if cell.bundle == bundle and cell.seed is not None]
        settings = _settings(of_bundle[0]).get("readout") if of_bundle else None
        if settings is not None:
            written.append(folder / f"{bundle}.json")
            write_json(written[-1], refit_readout(settings, [cell.predictions("test") for cell in of_bundle]))
    return written


def refit_readout(readout: dict[str, Any], tables: Sequence[Path]) -> dict[str, Any]:
    """Refit a read-out with the same features and attributes on tables of predictions.

    Args:
        readout: read-out from a side file.
        tables: paths of ``predictions.csv`` of evaluations.
    """
    outputs = dict(readout["outputs"])
    features = list(outputs.pop("malignancy")["weights"])
    table = pd.concat(
        [read_table(path, required=["nodule_id", "fold", "malignancy_prob", NETWORK_SCORE]) for path in tables],
        ignore_index=True,
    )
    named = {f"{name}{OF_NETWORK}": name for name in outputs}
    probable = [name for name in ATTRIBUTE_THRESHOLDS if f"{name}_prob" in table]
    logits = {f"{name}{LOGIT}": table[f"{name}_prob"].map(logit) for name in probable}
    table = table.rename(columns=named).assign(logit=table[NETWORK_SCORE].map(logit), **logits)
    fitted = fitted_readout(table, features=features, attributes=list(outputs))
    return {**fitted, "nodules": _nodules(table, fitted, outputs), "threshold": _threshold(table, features)}


def _nodules(table: pd.DataFrame, fitted: Mapping[str, Any], outputs: Mapping[str, Any]) -> int:
    """Number of nodules of the fit; with several seeds each has several rows."""
    usable = table[np.isfinite(table[list(fitted["mean"])].to_numpy(float)).all(axis=1)]
    return int((usable if outputs else usable[usable["malignant"].notna()])["nodule_id"].nunique())


def _threshold(table: pd.DataFrame, features: Sequence[str]) -> float:
    """Threshold of the probabilities that the read-out gives the nodules of each fold if fitted on the other folds."""
    probabilities = []
    for fold in table["fold"].unique():
        rest, kept = table[table["fold"] != fold], table[table["fold"] == fold]
        model = fitted_readout(rest if len(rest) else kept, features=features)
        (output,) = model["outputs"].values()
        standardized = (kept[features] - pd.Series(model["mean"])) / pd.Series(model["deviation"])
        linear = standardized @ pd.Series(output["weights"]) + output["intercept"]
        probabilities.append((1 / (1 + np.exp(-linear))).fillna(kept[NETWORK_SCORE]))
    probability = pd.concat(probabilities).reindex(table.index)
    return youden_threshold(probability.to_numpy(dtype=float), table["malignant"].to_numpy(dtype=float))


def _settings(cell: Cell) -> dict[str, Any]:
    return json.loads((cell.folder / "model.json").read_text())
