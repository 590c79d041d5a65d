"""Folds: by patient, even in malignancy, deterministic, without the hold-out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.errors import InputError
from lung_nodule.holdout import HOLDOUT, holdout_patients
from preprocessing.lidc import database
from preprocessing.lidc.cohorts import class_counts
from preprocessing.lidc.fold_assignment import assign_folds, fold_summary
from preprocessing.lidc.folds import committed_folds, fold_file
from preprocessing.phantom import DEFAULT_PATIENTS


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


def test_placed_patients_stay_and_the_others_fill_up() -> None:
    table = random_table(60)
    names = names_of(table)
    placed = dict.fromkeys(names[:6], "2")
    folds = assign_folds(table, names, holdout=[names[5]], placed=placed | {"unknown": "1"})
    fold_of = folds.set_index("patient_id")["fold"]
    assert fold_of[names[:5]].eq("2").all()
    assert fold_of[names[5]] == HOLDOUT
    counts = fold_summary(folds, table).drop(index=HOLDOUT).drop(columns="patients")
    assert ((counts - counts.mean()).abs() <= np.maximum(0.15 * counts.mean(), 2)).all(axis=None)


def committed(preset: str) -> pd.Series:
    table = pd.read_csv(fold_file(preset), dtype=str)
    assert table.columns.tolist() == ["patient_id", "fold"]
    assert table["patient_id"].is_unique
    assert table["patient_id"].is_monotonic_increasing
    return table.set_index("patient_id")["fold"]


def test_every_patient_of_the_collection_has_a_fold_and_both_scans_of_one_the_same() -> None:
    assert len(committed("all")) == 1010
    assert (committed("all") == HOLDOUT).sum() == 334


def test_no_phantom_shows_the_holdout() -> None:
    assert not holdout_patients() & set(DEFAULT_PATIENTS)
    assert set("01") <= set(committed("all")[list(DEFAULT_PATIENTS)])


def test_folds_do_not_depend_on_who_was_asked_for() -> None:
    some = ["LIDC-IDRI-0078", "LIDC-IDRI-0006", "LIDC-IDRI-0001", "LIDC-IDRI-0006"]
    asked = committed_folds(some)
    assert asked["patient_id"].tolist() == sorted(set(some))
    pd.testing.assert_series_equal(
        asked.set_index("patient_id")["fold"], committed("all")[sorted(set(some))], check_dtype=False
    )
    with pytest.raises(InputError, match="no fold for LIDC-IDRI-0238, somebody"):
        committed_folds(["LIDC-IDRI-0238", "somebody", "LIDC-IDRI-0006"])


def test_the_conversion_writes_the_committed_folds(small_dataset: Path) -> None:
    written = pd.read_csv(small_dataset / "folds.csv", dtype=str)
    pd.testing.assert_frame_equal(written, committed_folds(written["patient_id"]), check_dtype=False)


def test_the_published_volumes_keep_their_folds(lidc_vois: Path) -> None:
    theirs = pd.read_csv(lidc_vois / "folds.csv", dtype=str).set_index("patient_id")["fold"]
    assert len(theirs) == 369
    for preset in ("all", "benchmark"):
        assert committed(preset)[theirs.index].eq(theirs).all()


def test_how_the_published_folds_were_made(lidc_vois: Path) -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    nodules = pd.read_csv(lidc_vois / "nodules.csv")
    classes = np.sign(nodules["malignancy_mean"] - 3)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for fold, (_, members) in enumerate(splitter.split(nodules, classes, nodules["patient_id"])):
        assert committed("published")[nodules["patient_id"].iloc[members]].eq(str(fold)).all()


def test_the_committed_list() -> None:
    held = holdout_patients()
    assert len(held) == 334
    assert held <= {scan.patient_id for scan in database.scans()}
    shared = Path(__file__).resolve().parents[4] / "shared" / "data" / "tables" / "holdout_patients.txt"
    if shared.is_file():
        assert held == set(shared.read_text().split())
