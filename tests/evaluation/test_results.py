"""The content of ``metrics.json``."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from lung_nodule.evaluation.results import _attribute_summary, evaluation_results, plain


def test_figures_are_rounded_and_settings_are_not() -> None:
    table = pd.DataFrame(
        {
            "nodule_id": ["a", "b", "c"],
            "patient_id": ["p", "q", "q"],
            "diameter_mm": [20.0, 8.0, 5.0],
            "crop_extent_mm": [30.0, 18.0, 15.0],
            "malignant": [1.0, 0.0, 0.0],
            "malignancy_prob": [0.7, 0.2, 0.4],
        }
    )
    settings = {"learning_rate": 1e-7, "readout": {"threshold": 0.1234567891}, "fold": np.int64(2)}
    results = evaluation_results(table, dataset={"synthetic": False}, settings=settings)
    assert results["settings"] == {"learning_rate": 1e-7, "readout": {"threshold": 0.1234567891}, "fold": 2}
    assert results["classification"]["baselines"]["majority_accuracy"] == 0.666667
    assert json.loads(json.dumps(results)) == results


def test_json_types() -> None:
    value = {"a": np.float32(0.5), "b": (np.int64(3), float("nan")), "c": True}
    assert json.dumps(plain(value)) == '{"a": 0.5, "b": [3, null], "c": true}'


def test_attributes_without_a_figure_are_not_counted() -> None:
    attributes = {
        "texture": {"mae": 0.3, "baseline_mae": 0.5},
        "margin": {"mae": None, "baseline_mae": 0.5},
        "calcification": {"accuracy": None, "baseline_accuracy": 0.9},
    }
    assert _attribute_summary(attributes) == ["1 of 1 attributes below the constant's error", ""]
