"""Folds: by patient, even in malignancy, the same every time, the hold-out apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from preprocessing import database
from preprocessing.folds import assign_folds, class_counts, holdout_patients


def random_table(patients: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    names = [f"LIDC-IDRI-{number:04d}" for number in range(1, patients + 1)]
    owner = generator.choice(names, size=patients * 3)
    return pd.DataFrame(
        {"patient_id": owner, "malignancy_mean": generator.choice([1.5, 2.0, 3.0, 3.5, 5.0], len(owner))}
    )


def names_of(table: pd.DataFrame) -> list[str]:
    return sorted(table["patient_id"].unique())


def test_every_patient_has_one_fold_whatever_the_order_of_rows() -> None:
    table = random_table(60)
    folds = assign_folds(table, names_of(table), holdout=[])
    assert folds["patient_id"].tolist() == names_of(table)
    assert set(folds["fold"]) == set("01234")
    again = assign_folds(table.sample(frac=1, random_state=3), names_of(table)[::-1] * 2, holdout=[])
    pd.testing.assert_frame_equal(folds, again)


@pytest.mark.parametrize("seed", range(3))
def test_folds_look_alike(seed: int) -> None:
    table = random_table(100, seed)
    folds = assign_folds(table, names_of(table), holdout=[]).set_index("patient_id")["fold"]
    per_fold = class_counts(table, names_of(table)).groupby(folds).sum()
    assert ((per_fold - per_fold.mean()).abs() <= np.maximum(0.1 * per_fold.mean(), 2)).all(axis=None)
    assert folds.value_counts().max() - folds.value_counts().min() <= 10


def test_exactly_three_is_a_class_of_its_own() -> None:
    table = pd.DataFrame({"patient_id": list("abc"), "malignancy_mean": [2.99, 3.0, 3.01]})
    assert class_counts(table, list("abcd")).to_numpy().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("patients", [0, 1, 2, 3, 4, 5, 7])
def test_tiny_sets_and_patients_without_nodules(patients: int) -> None:
    names = [f"p{number}" for number in range(patients)]
    table = pd.DataFrame({"patient_id": names[:1], "malignancy_mean": [4.0] * len(names[:1])})
    folds = assign_folds(table, names, holdout=[])
    assert len(folds) == patients
    assert folds["fold"].nunique() == min(patients, 5)


def test_the_holdout_is_marked_and_does_not_move_the_others() -> None:
    table = random_table(40)
    names = names_of(table)
    held = set(names[::3])
    folds = assign_folds(table, names, holdout=held).set_index("patient_id")["fold"]
    assert set(folds.index[folds == "holdout"]) == held
    rest = table[~table["patient_id"].isin(held)]
    alone = assign_folds(rest, names_of(rest), holdout=[]).set_index("patient_id")["fold"]
    pd.testing.assert_series_equal(folds[alone.index], alone)


def test_the_committed_list() -> None:
    held = holdout_patients()
    assert len(held) == 334
    assert held <= {scan.patient_id for scan in database.scans()}
    shared = Path(__file__).resolve().parents[3] / "shared" / "data" / "tables" / "holdout_patients.txt"
    if shared.is_file():
        assert held == set(shared.read_text().split())
