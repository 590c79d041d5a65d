"""The long table: a network's predictions with the dataset's references, thresholds of its own validation fold."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.benchmark.cells.cell import Cell
from lung_nodule.benchmark.cells.plan import given_cells, trained_cells
from lung_nodule.benchmark.dataset import Dataset, read_dataset
from lung_nodule.benchmark.figures.method_figures import method_figures
from lung_nodule.benchmark.predictions import network_rows, select_columns, write_predictions, youden_threshold
from lung_nodule.data import nodule_datalist
from lung_nodule.errors import InputError


@pytest.fixture(scope="module")
def dataset(painted: Path) -> Dataset:
    return read_dataset(painted, range(5))


@pytest.fixture
def cells(dataset: Dataset, tmp_path: Path) -> list[Cell]:
    """Two folds whose predictions lie there, with columns that the dataset knows better."""
    planned = trained_cells(
        ["mtcnn"], seeds=1, folds=[0, 2], dataset_dir=dataset.folder, out=tmp_path, fingerprint="f", options={}
    )
    for cell in planned:
        for split, fold in (("test", cell.fold), ("validation", (int(cell.fold) + 1) % 5)):
            write(cell, split, dataset.nodules[dataset.nodules["fold"] == fold])
    return planned


def write(cell: Cell, split: str, nodules: pd.DataFrame) -> None:
    cell.predictions(split).parent.mkdir(parents=True, exist_ok=True)
    given = {"nodule_id": nodules["nodule_id"], "malignancy_prob": nodules["diameter_mm"] / 20, "malignant": 7.0}
    pd.DataFrame({**given, "fold": -1, "dice": 0.8, "texture_mean": 9.0}).to_csv(cell.predictions(split), index=False)


def test_references_are_the_datasets(cells: list[Cell], dataset: Dataset) -> None:
    rows = network_rows(cells, dataset.nodules)
    expected = dataset.nodules.set_index("nodule_id").loc[rows["nodule_id"]]
    for column in ("malignant", "texture_mean", "patient_id", "fold"):
        np.testing.assert_array_equal(rows[column], expected[column])
    assert rows["dice"].tolist() == [0.8] * len(rows)
    assert set(rows["method"]) == {"mtcnn"}
    assert set(rows["seed"]) == {0}
    assert list(select_columns(rows))[:5] == ["nodule_id", "patient_id", "fold", "seed", "method"]


def test_the_threshold_is_of_the_cells_validation_fold(cells: list[Cell], dataset: Dataset) -> None:
    rows = network_rows(cells, dataset.nodules)
    for fold, validation in ((0, 1), (2, 3)):
        seen = dataset.nodules[dataset.nodules["fold"] == validation]
        chosen = youden_threshold((seen["diameter_mm"] / 20).to_numpy(), seen["malignant"].to_numpy())
        assert np.isfinite(chosen)
        assert rows.loc[rows["fold"] == fold, "malignancy_threshold"].tolist() == [pytest.approx(chosen)] * 4


@pytest.mark.parametrize(("readout", "threshold"), [({"threshold": 0.31}, 0.31), (None, np.nan)])
def test_given_weights_bring_their_threshold(
    readout: dict | None, threshold: float, cells: list[Cell], dataset: Dataset
) -> None:
    given = replace(cells[0], seed=None)
    metrics = given.predictions("test").with_name("metrics.json")
    metrics.write_text(json.dumps({"settings": {"readout": readout}}))
    rows = network_rows([given], dataset.nodules)
    np.testing.assert_array_equal(rows["malignancy_threshold"], np.full(len(rows), threshold))


def test_the_file_holds_predictions_and_not_what_was_measured(tmp_path: Path) -> None:
    """Two float32 that differ do not become ties."""
    next_to_it = float(np.nextafter(np.float32(0.9), np.float32(1)))
    given = {"nodule_id": ["a", "b"], "method": "x", "seed": 0.0, "malignancy_prob": [next_to_it, 1 / 3e7]}
    table = pd.DataFrame({**given, "texture_pred": 4.0, "mask_log_volume": 6.0, "view_1_prob": 0.5})
    write_predictions(tmp_path / "predictions.csv", table)
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert lines == [
        "nodule_id,seed,method,malignancy_prob,texture_pred", "a,0,x,0.900000036,4", "b,0,x,3.33333333e-08,4",
    ]  # fmt: skip


def test_the_spread_is_the_width_of_the_range(cells: list[Cell], dataset: Dataset) -> None:
    table = pd.read_csv(cells[0].predictions("test")).assign(malignancy_prob_min=0.2, malignancy_prob_max=0.5)
    table.to_csv(cells[0].predictions("test"), index=False)
    np.testing.assert_allclose(network_rows(cells[:1], dataset.nodules)["malignancy_spread"], 0.3)


def test_validation_rows_name_the_test_fold(cells: list[Cell], dataset: Dataset) -> None:
    rows = network_rows(cells, dataset.nodules, "validation")
    own = dataset.nodules.set_index("nodule_id").loc[rows["nodule_id"], "fold"]
    assert sorted(set(zip(rows["fold"], own, strict=True))) == [(0, 1), (2, 3)]


def weights(folder: Path, **cohort: float | str) -> Path:
    """Weights of a side file that knows its training's cohort."""
    folder.mkdir(exist_ok=True)
    (folder / "model.pt").write_text("x")
    cohort = {"min_readers": 3, "max_slice_thickness_mm": 2.5, **cohort}
    side = {"bundle": "mtcnn", "network": {}, "patch": {}, "window": [-1000, 400], "patients_seen": [], "fold": 0}
    (folder / "model.json").write_text(json.dumps({**side, "cohort": cohort}))
    return folder / "model.pt"


def test_given_weights_have_no_seed_and_no_threshold_of_their_own(dataset: Dataset, tmp_path: Path) -> None:
    (cell,) = given_cells(
        {("mtcnn", "holdout"): weights(tmp_path)}, dataset_dir=dataset.folder, out=tmp_path, fingerprint="f"
    )
    assert [step.name for step in cell.steps] == ["test"]
    assert cell.steps[0].arguments[-4:-2] == ("--fold", "holdout")
    assert "--cohort" not in cell.steps[0].arguments
    write(cell, "test", dataset.nodules)
    cell.predictions("test").with_name("metrics.json").write_text('{"settings": {}}')
    rows = network_rows([cell], dataset.nodules)
    assert rows[["seed", "malignancy_threshold"]].isna().all(axis=None)


def test_given_weights_can_be_tested_on_nodules_of_fewer_readers(dataset: Dataset, tmp_path: Path) -> None:
    tested = {("mtcnn", fold): weights(tmp_path) for fold in (0, "holdout")}
    cells = given_cells(tested, dataset_dir=dataset.folder, out=tmp_path, fingerprint="f", cohort={"min_readers": 1})
    assert [cell.fold for cell in cells] == [0, "holdout"]
    for cell in cells:
        arguments = cell.steps[0].arguments
        assert ast.literal_eval(arguments[arguments.index("--cohort") + 1]) == {"min_readers": 1}
        assert cell.made_with["options"] == {"cohort": {"min_readers": 1}}


def test_a_nodule_that_the_dataset_lacks(cells: list[Cell], dataset: Dataset) -> None:
    some = dataset.nodules[dataset.nodules["fold"] != 2]
    with pytest.raises(InputError, match="holds nodules that the dataset lacks"):
        network_rows(cells, some)


def test_given_weights_of_another_cohort_are_tested_on_the_datasets_nodules(dataset: Dataset, tmp_path: Path) -> None:
    tested: dict[tuple[str, int | str], Path] = {
        ("mtcnn", 0): weights(tmp_path / "same", malignancy="median"),
        ("mtnet", 0): weights(tmp_path / "fewer", min_readers=1),
    }
    same, fewer = given_cells(tested, dataset_dir=dataset.folder, out=tmp_path, fingerprint="f")
    assert "--cohort" not in same.steps[0].arguments
    arguments = fewer.steps[0].arguments
    passed = ast.literal_eval(arguments[arguments.index("--cohort") + 1])
    assert passed == {"min_readers": 3, "max_slice_thickness_mm": 2.5}
    of_evaluation = nodule_datalist(dataset.folder, folds=range(5), **passed)
    assert [item["nodule_id"] for item in of_evaluation] == dataset.nodules["nodule_id"].tolist()


def test_a_network_without_a_malignancy_is_kept(cells: list[Cell], dataset: Dataset) -> None:
    for split in ("test", "validation"):
        path = cells[0].predictions(split)
        pd.read_csv(path).assign(malignancy_prob=np.nan).to_csv(path, index=False)
    rows = network_rows(cells, dataset.nodules)
    assert rows.loc[rows["fold"] == 0, ["malignancy_prob", "malignancy_threshold"]].isna().all(axis=None)
    assert rows.loc[rows["fold"] == 2, "malignancy_prob"].notna().all()
    figures = method_figures(rows[rows["fold"] == 0].assign(texture_pred=1.0))
    assert "malignancy" not in figures
    assert figures["attributes"]["texture_mae"]["mean"] > 0
    table = pd.read_csv(cells[1].predictions("test"))
    table.loc[1, "malignancy_prob"] = np.nan
    table.to_csv(cells[1].predictions("test"), index=False)
    with pytest.raises(InputError, match="line 3: column malignancy_prob holds nan, not a number"):
        network_rows(cells, dataset.nodules)
