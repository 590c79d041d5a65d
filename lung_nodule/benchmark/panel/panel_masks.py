"""The panel's mask: weighted mean of the networks' maps, as in the served panel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lung_nodule.benchmark.cells.cell import Cell
from lung_nodule.benchmark.measurements.nodule_measurements import dice
from lung_nodule.core import NoduleView, nodule_mask
from lung_nodule.data import LoadVOI, validation_fold
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256, read_table, write_table
from lung_nodule.methods import METHODS, load_network, load_view
from lung_nodule.runtime.progress_bar import progress
from torch import nn

Model = tuple[NoduleView, nn.Module]
Weights = tuple[float, ...]
"""A weight per network; they sum to one."""
FOLDER = "panel_masks"
COLUMNS = ["nodule_id", "map_weights", "dice_voi", "volume_mm3"]
TENTHS = 10


def panel_masks(
    cells: Sequence[Cell], items: Sequence[Mapping[Any, Any]], *, out: Path, fingerprint: str
) -> pd.DataFrame:
    """Overlap of the panel's mask with the readers', for every fold and seed that all networks with masks have tested.

    The map weights, in tenths, have the highest mean Dice on the validation fold of each test fold; for given weights
    they are :attr:`lung_nodule.methods.Method.map_weight`, as in the served panel. Results are cached in ``out`` by
    the hash of the networks' weights and the dataset, so that the weights may be deleted afterwards.

    Args:
        cells: finished cells of all networks.
        items: items of :func:`lung_nodule.data.nodule_datalist`, every nodule of the test and validation folds.
        out: output folder of the benchmark.
        fingerprint: fingerprint of the dataset.

    Returns:
        ``nodule_id``, ``fold``, ``seed``, ``map_weights`` (as ``mtnet 0.4, e2emtl 0.6``), ``dice_voi`` and
        ``volume_mm3``; empty for fewer than two networks with masks.

    Raises:
        InputError: weights of a network are missing and nothing is cached for them.
    """
    masked = [cell for cell in cells if METHODS[cell.bundle].view.segments]
    bundles = {cell.bundle for cell in masked}
    groups: dict[tuple[int | None, int | str], list[Cell]] = {}
    for cell in masked:
        groups.setdefault((cell.seed, cell.fold), []).append(cell)
    whole = {key: group for key, group in groups.items() if len(bundles) > 1 and len(group) == len(bundles)}
    tables = [
        _test_masks(group, items, out / FOLDER / fingerprint).assign(fold=fold, seed=np.nan if seed is None else seed)
        for (seed, fold), group in whole.items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*COLUMNS, "fold", "seed"])


def chosen_weights(table: pd.DataFrame) -> dict[str, str]:
    """Map weights in the long table by fold, and by seed if there are several."""
    rows = table.dropna(subset="map_weights").drop_duplicates(["seed", "fold"]) if "map_weights" in table else table[:0]
    seeds = rows["seed"].nunique()
    return {
        f"seed {row.seed:g}, fold {row.fold}" if seeds > 1 else f"fold {row.fold}": str(row.map_weights)
        for row in rows.itertuples()
    }


def mean_map(maps: Sequence[np.ndarray], weights: Weights) -> np.ndarray:
    """Weighted mean of the networks' maps, float32 of the same shape.

    Args:
        maps: maps of :func:`map_on_voi`.
        weights: one weight per map; they need not sum to one.
    """
    return np.average(maps, axis=0, weights=weights).astype(np.float32)


def map_on_voi(voi: Mapping[Any, Any], view: NoduleView, network: nn.Module) -> np.ndarray:
    """Compute a network's map on the VOI's grid, ``[X, Y, Z]`` probabilities.

    Args:
        voi: output of :class:`lung_nodule.data.LoadVOI` with ``ct`` ``[X, Y, Z]`` in HU, ``spacing`` ``[3]`` in mm and
            ``center`` ``[3]``.
        view: view of a method that segments.
        network: network of that method.
    """
    prepared = view.prepare(voi["ct"], voi["spacing"], voi["center"])
    with torch.inference_mode():
        tensor = network.predict(torch.from_numpy(prepared.images))  # type: ignore[operator]
    prediction = view.predict(view.named(tensor.numpy()), prepared.patch, voi["ct"])
    return prediction.patch.restore(prediction.probability)


def all_weights(networks: int) -> list[Weights]:
    """All combinations of weights in tenths that sum to one, 0 and 1 included."""
    choices = product(range(TENTHS + 1), repeat=networks)
    return [tuple(tenths / TENTHS for tenths in choice) for choice in choices if sum(choice) == TENTHS]


def _test_masks(cells: Sequence[Cell], items: Sequence[Mapping[Any, Any]], folder: Path) -> pd.DataFrame:
    """Compute the rows of the test nodules."""
    fold = cells[0].fold
    tested = [item for item in items if str(item["fold"]) == str(fold)]
    if cells[0].seed is None:
        return _measure_masks(cells, tested, [tuple(METHODS[cell.bundle].map_weight for cell in cells)], folder)
    validation = [item for item in items if item["fold"] == validation_fold(fold)]
    choices = all_weights(len(cells))
    found = _measure_masks(cells, validation, choices, folder)
    scores = found.groupby("map_weights", sort=False)["dice_voi"].mean()
    best = choices[int(np.argmax(scores.to_numpy()))]
    return _measure_masks(cells, tested, [best], folder)


def _measure_masks(
    cells: Sequence[Cell], items: Sequence[Mapping[Any, Any]], choices: Sequence[Weights], folder: Path
) -> pd.DataFrame:
    """A row per nodule and choice of weights, read from the cache or computed."""
    names = {choice: ", ".join(f"{c.bundle} {w:g}" for c, w in zip(cells, choice, strict=True)) for choice in choices}
    parts = [*map(_hash_of_model, cells), *sorted(item["nodule_id"] for item in items), *names.values()]
    path = folder / f"{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}.csv"
    if path.is_file():
        return read_table(path, required=COLUMNS)
    missing = [cell for cell in cells if not cell.weights.is_file()]
    if missing:
        raise InputError(
            f"the panel's masks need {missing[0].weights}, which does not exist: put it back, or delete "
            f"{missing[0].folder} to train it again"
        )
    models = [_model(cell.weights) for cell in cells]
    load, rows = LoadVOI(), []
    with progress(len(items), description=f"masks of the panel, fold {cells[0].fold}", unit="nodule") as step:
        for item in items:
            rows.extend(_rows(load(item), models, names))
            step()
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_table(path, table)
    return table


def _hash_of_model(cell: Cell) -> str:
    """SHA-256 of the network's weights and of its settings but the read-out, which masks do not need."""
    settings = json.loads(cell.weights.with_suffix(".json").read_text(encoding="utf-8"))
    weights = file_sha256(cell.weights) if cell.weights.is_file() else settings.get("weights_sha256")
    described = {name: value for name, value in settings.items() if name != "readout"}
    return hashlib.sha256(json.dumps([weights, described], sort_keys=True).encode()).hexdigest()


def _model(weights: Path) -> Model:
    """Load the view and network without the read-out, which masks do not need."""
    view = load_view(weights)
    layout = torch.channels_last if len(view.image_shape) == 3 else torch.channels_last_3d  # faster on a CPU
    return replace(view, readout=None), load_network(weights).to(memory_format=layout)  # type: ignore[type-var]


def _rows(voi: Mapping[Any, Any], models: Sequence[Model], names: Mapping[Weights, str]) -> Iterator[dict[str, Any]]:
    maps = [map_on_voi(voi, view, network) for view, network in models]
    for weights, name in names.items():
        mask = nodule_mask(mean_map(maps, weights), voi["center"], voi["spacing"])
        yield {
            "nodule_id": voi["nodule_id"],
            "map_weights": name,
            "dice_voi": dice(mask, voi["mask"] > 0),
            "volume_mm3": float(mask.sum() * np.prod(voi["spacing"])),
        }
