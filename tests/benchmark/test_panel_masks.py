"""The panel's mask in the benchmark: the mean of two networks' maps, kept under the names of their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lung_nodule.benchmark.cell import Cell
from lung_nodule.benchmark.panel_masks import mean_map, panel_masks
from lung_nodule.core import nodule_mask
from lung_nodule.data import LoadVOI, nodule_datalist
from lung_nodule.methods import METHODS, load_network, load_view
from tests.networks import published

PATCH = {"patch_mm": 32.0, "image_size": 32}
SETTINGS: dict[str, dict[str, Any]] = {
    "mtnet": {"network": {"width": 0.125, "middle_blocks": 1}, "patch": {**PATCH, "z_patch_mm": 32.0}},
    "e2emtl": {
        "network": {"width": 0.125, "in_channels": 1}, "patch": PATCH,
        "channels": {"names": ["ct"], "slic_segments": 10, "slic_compactness": 0.1},
    },
    "mtmrnet": {"network": {"width": 0.125}, "patch": {"crop": "adaptive", "image_size": 32}},
}  # fmt: skip


@pytest.fixture(scope="module")
def cells(painted: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    """Of three untrained networks, two of which segment."""
    out = tmp_path_factory.mktemp("benchmark")
    return [_cell(name, out, painted) for name in SETTINGS]


def _cell(name: str, out: Path, dataset: Path) -> Cell:
    folder = out / "cells" / name / "seed0" / "fold0"
    folder.mkdir(parents=True)
    torch.manual_seed(4)
    network: nn.Module = METHODS[name].network(**SETTINGS[name]["network"])
    torch.save((published.opened(network) if name == "mtnet" else network).state_dict(), folder / "model.pt")
    side = {"bundle": name, "version": "0.1.0", "window": [-1000.0, 400.0], "flips": True, **SETTINGS[name]}
    (folder / "model.json").write_text(json.dumps(side))
    return Cell(name, 0, 0, folder, dataset, folder / "model.pt", (), {})


def test_it_is_the_mask_of_the_mean_map(cells: list[Cell], painted: Path, tmp_path: Path) -> None:
    items = nodule_datalist(painted, folds=range(5))
    found = panel_masks(cells, items, out=tmp_path)
    tested = [item for item in items if item["fold"] == 0]
    assert found["nodule_id"].tolist() == [item["nodule_id"] for item in tested]
    assert (found[["fold", "seed"]] == 0).all(axis=None)
    models = [(load_view(cell.weights), load_network(cell.weights)) for cell in cells[:2]]
    for item, row in zip(tested, found.itertuples(), strict=True):
        voi = LoadVOI()(item)
        maps = []
        for view, network in models:
            prepared = view.prepare(voi["ct"], voi["spacing"], voi["center"])
            with torch.inference_mode():
                tensor = network.predict(torch.from_numpy(prepared.images)).numpy()
            prediction = view.predict(view.named(tensor), prepared.patch, voi["ct"])
            maps.append(prediction.on_voi(list(prediction.maps)[-1]))
        mean = (maps[0] + maps[1]) / 2
        np.testing.assert_allclose(mean_map(voi, models), mean, atol=1e-6)
        mask, reference = nodule_mask(mean, voi["center"], voi["spacing"]), voi["mask"] > 0
        assert row.dice_voi == pytest.approx(2 * (mask & reference).sum() / (mask.sum() + reference.sum()), abs=0.02)


def test_it_is_computed_once_for_these_weights(cells: list[Cell], painted: Path, tmp_path: Path) -> None:
    items = nodule_datalist(painted, folds=[0])[:2]
    first = panel_masks(cells, items, out=tmp_path)
    (kept,) = (tmp_path / "panel_masks").glob("*.csv")
    kept.write_text(kept.read_text().replace(str(first["nodule_id"][0]), "another"))
    assert panel_masks(cells, items, out=tmp_path)["nodule_id"][0] == "another"
    cells[0].weights.with_suffix(".json").write_text(cells[0].weights.with_suffix(".json").read_text() + " ")
    pd.testing.assert_frame_equal(panel_masks(cells, items, out=tmp_path), first)


def test_one_network_with_masks_has_no_mean(cells: list[Cell], painted: Path, tmp_path: Path) -> None:
    assert panel_masks(cells[1:], nodule_datalist(painted, folds=[0]), out=tmp_path).empty
