"""The fast bootstrap against the slow one and against scikit-learn's weighted AUC."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lung_nodule.evaluation import PatientBootstrap, bootstrap_interval
from lung_nodule.evaluation.bootstrap import weighted_aucs
from lung_nodule.evaluation.metrics import area_under_curve


@pytest.fixture
def nodules() -> pd.DataFrame:
    """120 nodules of 50 patients; scores with many ties."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 120).astype(float)
    score = np.round(label * 0.4 + random.random(120), 1)
    return pd.DataFrame({"patient_id": random.integers(0, 50, 120).astype(str), "score": score, "label": label})


def test_a_weighted_auc_is_scikit_learns(nodules: pd.DataFrame) -> None:
    weights = np.random.default_rng(1).integers(0, 4, (30, len(nodules)))
    score, label = nodules["score"].to_numpy(), nodules["label"].to_numpy()
    expected = [roc_auc_score(label, score, sample_weight=each) for each in weights]
    np.testing.assert_allclose(weighted_aucs(score, label, weights), expected)


def test_a_draw_without_a_class_has_no_auc() -> None:
    got = weighted_aucs(np.array([0.1, 0.9]), np.array([0.0, 1.0]), np.array([[1, 1], [2, 0]]))
    np.testing.assert_array_equal(got, [1.0, np.nan])


def test_intervals_are_those_of_drawing_rows(nodules: pd.DataFrame) -> None:
    patients = nodules["patient_id"].tolist()
    fast = PatientBootstrap(patients, draws=200)

    def auc(rows: pd.DataFrame) -> float:
        return area_under_curve(rows["score"].to_numpy(), rows["label"].to_numpy())

    aucs = fast.aucs(nodules["score"].to_numpy(), nodules["label"].to_numpy(), patients)
    assert fast.interval(aucs) == pytest.approx(bootstrap_interval(nodules, auc, draws=200))
    means = fast.means(nodules["score"].to_numpy(), patients)
    slow = bootstrap_interval(nodules, lambda rows: rows["score"].mean(), draws=200)
    assert fast.interval(means) == pytest.approx(slow)


def test_differences_are_paired(nodules: pd.DataFrame) -> None:
    """A score less its own copy is 0 in every draw, though each varies."""
    patients = nodules["patient_id"].tolist()
    fast = PatientBootstrap(patients)
    aucs = [fast.aucs(nodules["score"].to_numpy(), nodules["label"].to_numpy(), patients) for _ in range(2)]
    assert np.std(aucs[0]) > 0.01
    assert fast.interval(aucs[0] - aucs[1]) == [0.0, 0.0]


def test_rows_may_be_fewer_than_the_patients(nodules: pd.DataFrame) -> None:
    fast = PatientBootstrap(nodules["patient_id"].tolist()).once()
    part = nodules.head(40)
    score, label = part["score"].to_numpy(), part["label"].to_numpy()
    assert fast.aucs(score, label, part["patient_id"].tolist()) == pytest.approx(roc_auc_score(label, score))


def test_too_many_draws_without_a_class_give_no_interval() -> None:
    """A single malignant patient of forty is missing in 36 % of the draws, all of ten in one of 100,000."""
    few = pd.DataFrame({"patient_id": range(40), "score": range(40), "label": [1.0] + 39 * [0.0]})
    many = few.assign(label=10 * [1.0] + 30 * [0.0])

    def auc(rows: pd.DataFrame) -> float:
        return area_under_curve(rows["score"].to_numpy(dtype=float), rows["label"].to_numpy())

    assert bootstrap_interval(few, auc, draws=200) is None
    assert bootstrap_interval(many, auc, draws=200) == [0.0, 0.0], "the malignant ones have the lowest scores"


def test_one_patient_has_no_interval() -> None:
    single = PatientBootstrap(["a", "a"])
    assert single.interval(single.means([1.0, 2.0], ["a", "a"])) is None
