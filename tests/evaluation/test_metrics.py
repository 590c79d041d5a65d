"""Measures against their formulas and against scikit-learn, and their baselines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lung_nodule.core import SlicePatch
from lung_nodule.evaluation import (
    Overlap,
    bootstrap_interval,
    classification_metrics,
    evaluation_results,
    summary,
    threshold_mask,
)
from lung_nodule.evaluation.metrics import area_under_curve


def test_overlap_measures_are_the_papers() -> None:
    random = np.random.default_rng(0)
    s, g = random.random((4, 30, 30)) < 0.3, random.random((4, 30, 30)) < 0.4
    image, union, both = s.size, (s | g).sum(), (s & g).sum()
    assert Overlap.of(s, g).measures() == pytest.approx(
        {
            "dice": 2 * both / (s.sum() + g.sum()),
            "jaccard": both / union,
            "accuracy": (image - union + both) / image,
            "recall": both / g.sum(),
            "specificity": (image - union) / (image - g.sum()),
        }
    )


def test_pooled_is_one_large_image() -> None:
    random = np.random.default_rng(1)
    pairs = [(random.random((9, 9)) < p, random.random((9, 9)) < p) for p in (0.1, 0.5, 0.9)]
    whole = Overlap.of(np.stack([s for s, _ in pairs]), np.stack([g for _, g in pairs]))
    assert Overlap.pooled(Overlap.of(s, g) for s, g in pairs) == whole


def test_empty_masks_have_no_dice() -> None:
    empty = np.zeros((3, 3))
    assert np.isnan(Overlap.of(empty, empty).measures()["dice"])
    assert Overlap.of(empty, empty + 1).measures()["dice"] == 0


def test_classification_equals_scikit_learn() -> None:
    random = np.random.default_rng(2)
    label = random.integers(0, 2, 80)
    probability = np.clip(label * 0.3 + random.random(80) * 0.7, 0, 1)
    got = classification_metrics(probability, label)
    assert got["auc"] == pytest.approx(roc_auc_score(label, probability))
    assert got["accuracy"] == pytest.approx(((probability >= 0.5) == label).mean())
    assert got["sensitivity"] == pytest.approx((probability[label == 1] >= 0.5).mean())
    assert got["specificity"] == pytest.approx((probability[label == 0] < 0.5).mean())


def test_ties_count_half_as_in_scikit_learn() -> None:
    random = np.random.default_rng(4)
    for _ in range(20):
        label, score = random.integers(0, 2, 30), random.integers(0, 5, 30) / 4
        if len(np.unique(label)) == 2:
            assert area_under_curve(score, label) == pytest.approx(roc_auc_score(label, score))


def test_one_class_has_no_auc() -> None:
    assert np.isnan(classification_metrics(np.array([0.2, 0.9]), np.array([1, 1]))["auc"])


def test_intervals_draw_patients_not_nodules() -> None:
    """Twenty copies of a patient's nodule bring no certainty."""
    few = pd.DataFrame({"patient_id": list("abcdefgh"), "dice": np.linspace(0.5, 0.9, 8)})
    many = pd.concat([few] * 20)
    low, high = bootstrap_interval(few, lambda rows: rows["dice"].mean())
    assert low < few["dice"].mean() < high
    assert bootstrap_interval(many, lambda rows: rows["dice"].mean()) == pytest.approx([low, high])
    assert bootstrap_interval(few.head(1), lambda rows: rows["dice"].mean()) is None


def test_threshold_baseline_keeps_the_object_at_the_centre() -> None:
    ct = np.full((3, 20, 20), -850)
    ct[:, 8:12, 8:12] = 30
    ct[:, 0:3, 0:3] = 30
    patch = SlicePatch((20, 20, 3), (1.0, 1.0, 1.0), (10.0, 10.0, 1.0), 20.0, 20)
    assert threshold_mask(ct, patch).sum() == 3 * 16


def table(nodules: int = 12) -> pd.DataFrame:
    random = np.random.default_rng(3)
    columns = ["malignancy_prob", "diameter_mm", "crop_extent_mm", "dice_voi", "coarse_dice", "threshold_dice"]
    columns += ["dice", "jaccard", "accuracy", "recall", "specificity"]
    rows = {column: random.random(nodules) for column in columns}
    rows["patient_id"] = [f"p{i // 2}" for i in range(nodules)]
    rows["malignant"] = [1.0, 0.0, np.nan] * (nodules // 3)
    for column in ("true_positive", "false_positive", "false_negative", "true_negative"):
        rows[column] = random.integers(1, 99, nodules)
    return pd.DataFrame(rows)


def test_results_stand_beside_their_baselines() -> None:
    rows = table()
    results = evaluation_results(rows, dataset={"synthetic": True}, settings={"width": 1.0})
    assert results["counts"] == {
        "nodules": 12, "patients": 6, "malignant": 4, "benign": 4, "undecided": 4, "missed": 0,
    }  # fmt: skip
    labelled = rows[rows["malignant"].notna()]
    expected = roc_auc_score(labelled["malignant"], labelled["diameter_mm"])
    assert results["classification"]["baselines"]["diameter_mm_auc"] == pytest.approx(expected, abs=1e-6)
    assert set(results["classification"]["baselines"]) >= {"majority_accuracy", "crop_extent_mm_auc"}
    above = results["classification"]["auc"] - expected
    assert results["classification"]["baselines"]["auc_above_diameter"] == pytest.approx(above, abs=2e-6)
    assert results["segmentation"]["macro"]["dice"] == pytest.approx(rows["dice"].mean(), abs=1e-6)
    assert results["notes"][0].startswith("SYNTHETIC DATA")


def test_results_without_a_class_say_so() -> None:
    rows = table().assign(malignant=1.0)
    results = evaluation_results(rows, dataset={}, settings={})
    assert results["classification"]["auc"] is None
    assert evaluation_results(rows.assign(malignant=np.nan), dataset={}, settings={})["classification"] is None


def test_what_a_method_does_not_predict_is_none() -> None:
    rows = table()
    scores = rows[["patient_id", "malignant", "malignancy_prob", "diameter_mm", "crop_extent_mm"]]
    results = evaluation_results(scores, dataset={"synthetic": False}, settings={})
    assert results["segmentation"] is None
    assert results["attributes"] is None
    assert "missed" not in results["counts"]
    assert not any("Dice" in note for note in results["notes"])
    assert "Dice" not in summary(results)
    assert "AUC" in summary(results)


def test_attributes_stand_beside_their_constants() -> None:
    rows = table().assign(
        margin_mean=[1.0, 2.0, 3.0, 4.0] * 3, margin_pred=[2.0, 2.0, 3.0, 3.0] * 3,
        texture_high=[1.0, 1.0, 1.0, 0.0] * 3, texture_prob=[0.9, 0.8, 0.3, 0.4] * 3,
    )  # fmt: skip
    results = evaluation_results(rows, dataset={"synthetic": False}, settings={"attribute_medians": {"margin": 3.0}})
    assert results["attributes"]["margin"] == {"mae": 0.5, "baseline_mae": 1.0}
    texture = results["attributes"]["texture"]
    assert (texture["accuracy"], texture["baseline_accuracy"]) == (0.75, 0.75)
    assert texture["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-6)
    assert texture["auc"] == pytest.approx(2 / 3, abs=1e-6)
    assert "1 of 1 attributes below the constant's error; 0 of 1 attributes above the majority" in summary(results)


def test_further_scores_stand_beside_the_first() -> None:
    rows = table().assign(mean_prob=lambda t: t["malignancy_prob"])
    results = evaluation_results(rows, dataset={}, settings={"other_scores": ["mean_prob"]})
    assert results["classification"]["other_scores"]["mean_prob"]["auc"] == results["classification"]["auc"]


def test_a_score_that_is_the_diameter_is_not_above_it() -> None:
    rows = table(60).assign(malignancy_prob=lambda t: t["diameter_mm"] / 2)
    baselines = evaluation_results(rows, dataset={}, settings={})["classification"]["baselines"]
    assert baselines["auc_above_diameter"] == 0
    assert baselines["auc_above_diameter_interval"] == [0, 0]
