"""The mask of the networks together: the mean of their maps, as the served panel draws it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lung_nodule.benchmark.cell import Cell
from lung_nodule.benchmark.measurements import dice
from lung_nodule.core import NoduleView, nodule_mask
from lung_nodule.data import LoadVOI
from lung_nodule.io import file_sha256, read_table, write_table
from lung_nodule.io.progress_bar import progress
from lung_nodule.methods import METHODS, load_network, load_view
from torch import nn

Model = tuple[NoduleView, nn.Module]
FOLDER = "panel_masks"
COLUMNS = ["nodule_id", "dice_voi", "volume_mm3"]


def panel_masks(cells: Sequence[Cell], items: Sequence[Mapping[Any, Any]], *, out: Path) -> pd.DataFrame:
    """Overlap of the panel's mask with the readers', for every fold and seed that all networks with masks have tested.

    Nothing is fitted: every network counts alike. What is found is kept in ``out`` under a name of the weights, so that
    a later run does not compute it again.

    Args:
        cells: finished ones of all networks.
        items: of :func:`lung_nodule.data.nodule_datalist`, every tested nodule.
        out: of the benchmark.

    Returns:
        ``nodule_id``, ``fold``, ``seed``, ``dice_voi`` and ``volume_mm3``; empty of fewer than two networks with masks.
    """
    masked = [cell for cell in cells if METHODS[cell.bundle].view.segments]
    bundles = {cell.bundle for cell in masked}
    groups: dict[tuple[int | None, int | str], list[Cell]] = {}
    for cell in masked:
        groups.setdefault((cell.seed, cell.fold), []).append(cell)
    whole = {key: group for key, group in groups.items() if len(bundles) > 1 and len(group) == len(bundles)}
    tables = [
        _of_fold(group, [item for item in items if str(item["fold"]) == str(fold)], out / FOLDER).assign(
            fold=fold, seed=np.nan if seed is None else seed
        )
        for (seed, fold), group in whole.items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*COLUMNS, "fold", "seed"])


def mean_map(voi: Mapping[Any, Any], models: Sequence[Model]) -> np.ndarray:
    """The mean of the models' maps on the VOI's grid, float32 ``[X, Y, Z]``.

    Args:
        voi: ``ct`` ``[X, Y, Z]`` in HU, ``spacing`` ``[3]`` in mm and ``center`` ``[3]``, of
            :class:`lung_nodule.data.LoadVOI`.
        models: views that segment, and their networks.
    """
    return np.mean([_map(voi, view, network) for view, network in models], axis=0, dtype=np.float32)


def _map(voi: Mapping[Any, Any], view: NoduleView, network: nn.Module) -> np.ndarray:
    prepared = view.prepare(voi["ct"], voi["spacing"], voi["center"])
    with torch.inference_mode():
        tensor = network.predict(torch.from_numpy(prepared.images))  # type: ignore[operator]
    prediction = view.predict(view.named(tensor.numpy()), prepared.patch, voi["ct"])
    return prediction.patch.restore(prediction.probability)


def _of_fold(cells: Sequence[Cell], items: Sequence[Mapping[Any, Any]], folder: Path) -> pd.DataFrame:
    """The rows of a fold's nodules, read or computed."""
    hashes = [file_sha256(path) for cell in cells for path in (cell.weights, cell.weights.with_suffix(".json"))]
    key = hashlib.sha256("".join([*hashes, *sorted(item["nodule_id"] for item in items)]).encode()).hexdigest()[:16]
    path = folder / f"{key}.csv"
    if path.is_file():
        return read_table(path, required=COLUMNS, unique=["nodule_id"])
    models = [_model(cell.weights) for cell in cells]
    load, rows = LoadVOI(), []
    with progress(len(items), description=f"masks of the panel, fold {cells[0].fold}", unit="nodule") as step:
        for item in items:
            rows.append(_row(load(item), models))
            step()
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_table(path, table)
    return table


def _model(weights: Path) -> Model:
    """Without its read-out, which no mask needs."""
    view = load_view(weights)
    layout = torch.channels_last if len(view.image_shape) == 3 else torch.channels_last_3d  # faster on a CPU
    return replace(view, readout=None), load_network(weights).to(memory_format=layout)  # type: ignore[type-var]


def _row(voi: Mapping[Any, Any], models: Sequence[Model]) -> dict[str, Any]:
    mask = nodule_mask(mean_map(voi, models), voi["center"], voi["spacing"])
    volume = float(mask.sum() * np.prod(voi["spacing"]))
    return {"nodule_id": voi["nodule_id"], "dice_voi": dice(mask, voi["mask"] > 0), "volume_mm3": volume}
