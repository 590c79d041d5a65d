"""What an evaluation knows of a nodule, wherever the network computed it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lung_nodule.core import Prediction
from lung_nodule.evaluation import EvaluationReport, evaluation_results
from lung_nodule.evaluation.rows import nodule_of
from lung_nodule.io import read_table

SETTINGS = {"other_scores": ["mean_prob"]}
CLOSE = 1e-9  # by how much the scores of the two classes differ, near 1


class OnAccelerator(torch.Tensor):
    """A tensor that numpy cannot read before it is brought to the CPU, as on a GPU."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("can't convert device tensor to numpy")

    def cpu(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


def test_tensors_of_an_output_come_to_the_cpu() -> None:
    label = torch.ones(1, 1, 2, 2, 3).as_subclass(OnAccelerator)
    with pytest.raises(TypeError, match="device tensor"):
        np.asarray(label)
    engine = SimpleNamespace(state=SimpleNamespace(batch={"nodule_id": "n1", "label": None}, output={"label": label}))
    nodule = nodule_of(engine)
    assert nodule["nodule_id"] == "n1"
    assert np.asarray(nodule["label"]).sum() == 12


def evaluated(folder: Path) -> dict:
    """An evaluation of eight nodules, run as the evaluator does: malignant ones score a few billionths higher."""
    dataset = folder / "data"
    dataset.mkdir()
    report = EvaluationReport(output_dir=folder, dataset_dir=dataset, settings=SETTINGS)
    for index in range(8):
        malignant = index % 2
        score = 1 - 2 * CLOSE * (10 - index // 2) + CLOSE * malignant * 9
        nodule = {
            "nodule_id": f"n{index}", "patient_id": f"p{index}", "fold": "0", "readers": 3, "crop_extent_mm": 30.0,
            "diameter_mm": 7 + index / 3, "malignancy_mean": 2.0 + 2 * malignant, "malignant": malignant,
        }  # fmt: skip
        output = {
            "malignancy_prob": torch.tensor([score], dtype=torch.float64),
            "prediction": Prediction(None, score, other_scores={"mean_prob": 1e-7 * (1 + malignant) / 3}),
        }
        report.collect(SimpleNamespace(state=SimpleNamespace(batch=nodule, output=output)))
    report.complete(SimpleNamespace())
    return json.loads((folder / "metrics.json").read_text())


def test_scores_that_differ_by_a_billionth_are_no_ties(tmp_path: Path) -> None:
    classification = evaluated(tmp_path)["classification"]
    assert classification["auc"] == 1.0
    assert classification["other_scores"]["mean_prob"]["auc"] == 1.0


def test_the_table_on_disk_gives_the_same_metrics(tmp_path: Path) -> None:
    metrics = evaluated(tmp_path)
    table = read_table(tmp_path / "predictions.csv", ["malignancy_prob", "diameter_mm"])
    assert table["malignancy_prob"].nunique() == 8
    assert table["malignancy_prob"][0] == 1 - 2 * CLOSE * 10
    assert table["diameter_mm"][1] == 7 + 1 / 3
    again = evaluation_results(table, dataset=metrics["dataset"], settings=SETTINGS)
    assert again == metrics
