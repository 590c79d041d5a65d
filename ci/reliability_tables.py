"""Reliability tables of each network's probabilities in its cross-validation, from docs/predictions.csv.

The table of a bundle's shipped weights goes into their side file, that of the panel beside its template; the export
carries them to the server's clients.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lung_nodule.benchmark.panel.panel_rows import PANEL

EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Edges of five bins; tenths of some networks hold fewer than twenty nodules."""


def side_file(root: Path, name: str) -> Path:
    """Side file of a bundle's shipped weights; missing where the bundle ships no weights."""
    return root / "bundles" / name / "models" / "model.json"


def written(root: Path, predictions: pd.DataFrame, results: Mapping[str, Any]) -> dict[Path, str]:
    """New content of every file that holds such a table.

    Args:
        root: root of the repository.
        predictions: the rows of ``docs/predictions.csv``.
        results: ``docs/benchmark.json``.
    """
    networks = [name for name, entry in results["methods"].items() if entry["kind"] == "network" and name != PANEL]
    source = results["dataset"]["source"]
    texts = {}
    for name in networks:
        path = side_file(root, name)
        if path.is_file():
            described = json.loads(path.read_text(encoding="utf-8"))
            texts[path] = as_json({**described, "calibration": table(_rows(predictions, name), source)})
    if PANEL in results["methods"]:
        own = {"methods": networks, "calibration": table(_rows(predictions, PANEL), source)}
        texts[root / "triton_repo" / "nodule_panel" / "calibration.json"] = as_json(own)
    return texts


def table(rows: pd.DataFrame, source: str, edges: Sequence[float] = EDGES) -> dict[str, Any]:
    """Number of nodules by probability, and how many of them the readers rated malignant.

    Args:
        rows: rows of one method: ``malignancy_prob``, ``malignant`` (1, 0, or NaN of neither class), ``nodule_id``,
            ``patient_id``, ``seed``.
        source: source of the nodules.
        edges: edges of the probability bins.

    Returns:
        ``source``, ``edges``, and of each bin ``nodules``, ``malignant`` and ``predicted``, the mean probability; of
        several seeds the mean numbers.
    """
    known = rows[rows["malignant"].notna()]
    which = np.clip(np.digitize(known["malignancy_prob"], edges[1:-1]), 0, len(edges) - 2)
    seeds, bins = known["seed"].nunique(), range(len(edges) - 1)
    groups = [known[which == index] for index in bins]
    return {
        "source": f"{known['nodule_id'].nunique()} nodules of {known['patient_id'].nunique()} patients of {source}",
        "edges": list(edges),
        "nodules": [_shortened(len(group) / seeds) for group in groups],
        "malignant": [_shortened(group["malignant"].sum() / seeds) for group in groups],
        "predicted": [round(float(group["malignancy_prob"].mean()), 4) if len(group) else None for group in groups],
    }


def as_json(obj: Any) -> str:
    """JSON in the form of the training's side files."""
    return json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _rows(predictions: pd.DataFrame, name: str) -> pd.DataFrame:
    return predictions[predictions["method"] == name]


def _shortened(value: float) -> int | float:
    return int(value) if float(value).is_integer() else round(float(value), 2)
