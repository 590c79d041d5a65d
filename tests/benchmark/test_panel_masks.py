"""The panel's mask in the benchmark: the weighted mean of two networks' maps."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lung_nodule.benchmark.cells.cell import Cell
from lung_nodule.benchmark.panel.panel_masks import all_weights, chosen_weights, mean_map, panel_masks
from lung_nodule.core import nodule_mask
from lung_nodule.data import LoadVOI, nodule_datalist
from lung_nodule.deployment.repository.model_repository import TEMPLATES, read_config
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256
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


def _maps(cells: list[Cell], item: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A nodule and the networks' maps of it, as inference makes them."""
    voi, maps = LoadVOI()(item), []
    for cell in cells:
        view, network = load_view(cell.weights), load_network(cell.weights)
        prepared = view.prepare(voi["ct"], voi["spacing"], voi["center"])
        with torch.inference_mode():
            tensor = network.predict(torch.from_numpy(prepared.images)).numpy()
        prediction = view.predict(view.named(tensor), prepared.patch, voi["ct"])
        maps.append(prediction.on_voi(list(prediction.maps)[-1]))
    return voi, maps


def _dice(voi: dict[str, Any], probability: np.ndarray) -> float:
    mask, reference = nodule_mask(probability, voi["center"], voi["spacing"]), voi["mask"] > 0
    return 2 * (mask & reference).sum() / (mask.sum() + reference.sum())


@pytest.mark.slow
def test_given_weights_have_the_mask_of_the_served_panel(cells: list[Cell], painted: Path, tmp_path: Path) -> None:
    items = nodule_datalist(painted, folds=range(5))
    found = panel_masks([replace(cell, seed=None) for cell in cells], items, out=tmp_path, fingerprint="data")
    tested = [item for item in items if item["fold"] == 0]
    assert found["nodule_id"].tolist() == [item["nodule_id"] for item in tested]
    assert (found["fold"] == 0).all()
    assert found["seed"].isna().all()
    assert set(found["map_weights"]) == {"mtnet 0.4, e2emtl 0.6"}
    for item, row in zip(tested, found.itertuples(), strict=True):
        voi, (first, second) = _maps(cells[:2], item)
        mean = 0.4 * first + 0.6 * second
        np.testing.assert_allclose(mean_map([first, second], (0.4, 0.6)), mean, atol=1e-6)
        assert row.dice_voi == pytest.approx(_dice(voi, mean), abs=0.02)


@pytest.mark.slow
def test_the_weights_are_those_that_are_best_on_the_validation_fold(
    cells: list[Cell], painted: Path, tmp_path: Path
) -> None:
    items = nodule_datalist(painted, folds=range(5))
    found = panel_masks(cells, items, out=tmp_path, fingerprint="data")
    assert set(found["nodule_id"]) == {item["nodule_id"] for item in items if item["fold"] == 0}
    assert (found["seed"] == 0).all()
    (chosen,) = set(found["map_weights"])
    validation = [_maps(cells[:2], item) for item in items if item["fold"] == 1]
    scores = {
        f"mtnet {tenths / 10:g}, e2emtl {1 - tenths / 10:g}": np.mean(
            [_dice(voi, tenths / 10 * first + (1 - tenths / 10) * second) for voi, (first, second) in validation]
        )
        for tenths in range(11)
    }
    assert np.ptp(list(scores.values())) > 0.001, "equal scores choose nothing"
    assert scores[chosen] == pytest.approx(max(scores.values()), abs=1e-3)


def test_the_chosen_weights_are_named_by_fold_and_seed() -> None:
    table = pd.DataFrame({"seed": [0, 0, 0, 1], "fold": [0, 0, 3, 3], "map_weights": ["a", "a", "b", "c"]})
    assert chosen_weights(table) == {"seed 0, fold 0": "a", "seed 0, fold 3": "b", "seed 1, fold 3": "c"}
    assert chosen_weights(table[:3]) == {"fold 0": "a", "fold 3": "b"}
    assert chosen_weights(table.drop(columns="map_weights")) == {}


@pytest.mark.parametrize(("networks", "choices"), [(2, 11), (3, 66)])
def test_all_weights_sum_to_one(networks: int, choices: int) -> None:
    found = all_weights(networks)
    assert len(set(found)) == choices
    assert [sum(weights) for weights in found] == pytest.approx([1] * choices)
    assert (1.0, *[0.0] * (networks - 1)) in found


def test_the_panel_is_served_with_the_methods_own_weights() -> None:
    parameters = read_config(TEMPLATES / "nodule_panel" / "config.pbtxt").parameters
    maps = [entry.partition(":")[0] for entry in parameters["maps"].string_value.split()]
    weights = [float(weight) for weight in parameters["map_weights"].string_value.split()]
    assert dict(zip(maps, weights, strict=True)) == {
        name: method.map_weight for name, method in METHODS.items() if method.view.segments and name in maps
    }


@pytest.mark.slow
def test_it_is_computed_once_for_these_weights(cells: list[Cell], painted: Path, tmp_path: Path) -> None:
    items = nodule_datalist(painted, folds=[0, 1])
    first = panel_masks(cells, items, out=tmp_path, fingerprint="data")
    kept = {path.read_text().count("\n"): path for path in (tmp_path / "panel_masks" / "data").glob("*.csv")}
    assert sorted(kept) == [5, 45], "four tested nodules, and four of the validation with eleven choices"
    kept[5].write_text(kept[5].read_text().replace(str(first["nodule_id"][0]), "another"))
    assert panel_masks(cells, items, out=tmp_path, fingerprint="data")["nodule_id"][0] == "another"
    pd.testing.assert_frame_equal(panel_masks(cells, items, out=tmp_path, fingerprint="changed data"), first)


@pytest.mark.slow
def test_it_is_computed_again_for_another_model_alone(cells: list[Cell], painted: Path, tmp_path: Path) -> None:
    """Another read-out has the same masks, another threshold has not; the weights may be gone."""
    cells = [_copy(cell, tmp_path) for cell in cells]
    items, cache = nodule_datalist(painted, folds=[0, 1]), tmp_path / "panel_masks" / "data"
    first = panel_masks(cells, items, out=tmp_path, fingerprint="data")
    side = cells[1].weights.with_suffix(".json")
    settings = {**json.loads(side.read_text()), "weights_sha256": file_sha256(cells[1].weights)}
    side.write_text(json.dumps(settings))
    panel_masks(cells, items, out=tmp_path, fingerprint="data")
    files = set(cache.iterdir())
    side.write_text(json.dumps({**settings, "readout": {"features": ["logit"]}}))
    cells[1].weights.unlink()
    pd.testing.assert_frame_equal(panel_masks(cells, items, out=tmp_path, fingerprint="data"), first)
    assert set(cache.iterdir()) == files
    side.write_text(json.dumps({**settings, "mask_threshold": 0.4}))
    with pytest.raises(InputError, match=r"the panel's masks need .*model\.pt, which does not exist: put it back, or"):
        panel_masks(cells, items, out=tmp_path, fingerprint="data")


def _copy(cell: Cell, out: Path) -> Cell:
    folder = out / cell.folder.relative_to(cell.benchmark)
    shutil.copytree(cell.folder, folder)
    return replace(cell, folder=folder, weights=folder / "model.pt")


def test_one_network_with_masks_has_no_mean(cells: list[Cell], painted: Path, tmp_path: Path) -> None:
    assert panel_masks(cells[1:], nodule_datalist(painted, folds=[0]), out=tmp_path, fingerprint="data").empty
