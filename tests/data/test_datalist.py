"""Which nodules are in a datalist, and with which label."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.core import original_scale
from lung_nodule.data import (
    ATTRIBUTE_COLUMNS,
    attribute_medians,
    fingerprint,
    labelled,
    nodule_datalist,
    patients_of,
    refuse_seen_patients,
    require_dataset,
    scaled_attributes,
)
from lung_nodule.errors import InputError
from lung_nodule.io import read_table, write_table
from lung_nodule.lidc import ATTRIBUTES, HIGHEST_RATING


def test_labels_are_the_readers_mean(painted: Path) -> None:
    items = nodule_datalist(painted, folds=range(5))
    assert len(items) == 20
    for item in items:
        mean = item["malignancy_mean"]
        assert math.isnan(item["malignant"]) if mean == 3 else item["malignant"] == float(mean > 3)
        assert all(Path(item[key]).is_file() for key in ("ct", "mask", "reader_masks"))
    assert len(labelled(items)) == 16
    assert labelled(items, keep_undecided=True) == items


def test_no_patient_crosses_folds(painted: Path) -> None:
    patients = [{item["patient_id"] for item in nodule_datalist(painted, folds=[fold])} for fold in range(5)]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 10


def test_hold_out_patients_stand_in_no_numbered_fold(painted: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(painted, tmp_path / "copy")
    folds = pd.read_csv(copy / "folds.csv", dtype=str)
    folds.loc[folds["patient_id"] == "SYN-0003", "fold"] = "holdout"
    folds.to_csv(copy / "folds.csv", index=False)
    assert "SYN-0003" not in {item["patient_id"] for item in nodule_datalist(copy, folds=range(5))}
    assert {item["patient_id"] for item in nodule_datalist(copy, folds=["holdout"])} == {"SYN-0003"}


def test_bad_datasets_are_named(painted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no dataset at .* make one with"):
        require_dataset(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"none of its 20 nodules .* at least 4 readers"):
        nodule_datalist(painted, folds=range(5), min_readers=4)
    copy = shutil.copytree(painted, tmp_path / "copy")
    nodules = pd.read_csv(copy / "nodules.csv")
    nodules.drop(columns="center_x_ras").to_csv(copy / "nodules.csv", index=False)
    with pytest.raises(InputError, match="lacks the column center_x_ras"):
        nodule_datalist(copy, folds=[0])


@pytest.mark.parametrize("fold", [2, "2"])
def test_one_fold_needs_no_list(painted: Path, fold: int | str) -> None:
    one, listed = (nodule_datalist(painted, folds=folds) for folds in (fold, [2]))
    assert [item["nodule_id"] for item in one] == [item["nodule_id"] for item in listed]


def test_a_patient_in_two_folds_is_refused(painted: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(painted, tmp_path / "copy")
    with (copy / "folds.csv").open("a") as file:
        file.write("SYN-0001,4\n")
    with pytest.raises(InputError, match="SYN-0001 is listed twice"):
        nodule_datalist(copy, folds=[0])


def test_real_cohort(lidc_vois: Path) -> None:
    """Malignancy below, above and at 3: 312 / 254 / 97."""
    labels = pd.Series([item["malignant"] for item in nodule_datalist(lidc_vois, folds=range(5))])
    assert [(labels == 0).sum(), (labels == 1).sum(), labels.isna().sum()] == [312, 254, 97]


def test_a_fold_without_a_class_is_refused(painted: Path) -> None:
    items = nodule_datalist(painted, folds=[2])
    with pytest.raises(InputError, match=r"folds \[2\] hold only malignant nodules \(1 of 1"):
        labelled([item for item in items if item["malignant"] == 1][:1])
    with pytest.raises(InputError, match="no classified nodules"):
        labelled([{**item, "malignant": math.nan} for item in items])


def test_fingerprints_tell_datalists_apart(painted: Path) -> None:
    items = nodule_datalist(painted, folds=[0, 1])
    assert fingerprint(items) == fingerprint(items[::-1])
    assert fingerprint(items) != fingerprint(items[1:])
    assert fingerprint(items) != fingerprint([{**item, "fold": 4} for item in items])


@pytest.mark.parametrize(
    "column", [*ATTRIBUTE_COLUMNS, "malignancy_mean", "diameter_mm", "center_x_ras", "center_y_ras", "center_z_ras"]
)
def test_a_fingerprint_knows_what_a_network_is_trained_on(painted: Path, column: str) -> None:
    """The class and the fold stay as they are."""
    items = nodule_datalist(painted, folds=[0, 1], columns=ATTRIBUTE_COLUMNS)
    changed = [{**items[0], column: items[0][column] + 0.25}, *items[1:]]
    assert fingerprint(changed) != fingerprint(items)
    assert fingerprint(changed) == fingerprint(changed[::-1])


def test_a_fingerprint_does_not_know_types_and_paths(painted: Path) -> None:
    """A whole number is read as one or as a decimal, by the column's other rows; datasets may be moved."""
    items = nodule_datalist(painted, folds=[0, 1])
    decimal = [{**item, "malignancy_mean": float(round(item["malignancy_mean"]))} for item in items]
    whole = [{**item, "malignancy_mean": round(item["malignancy_mean"]), "ct": "elsewhere"} for item in items]
    assert fingerprint(decimal) == fingerprint(whole)


def test_patients_seen_in_training_are_refused_whatever_their_fold_is_called(painted: Path) -> None:
    settings = {"fold": 0, "patients_seen": patients_of(nodule_datalist(painted, folds=[1, 2, 3, 4]))}
    test = nodule_datalist(painted, folds=[0])
    assert refuse_seen_patients(test, settings) == test
    renamed = [{**item, "fold": 0} for item in nodule_datalist(painted, folds=[3])]
    with pytest.raises(InputError, match=r"1 of the 3 patients|2 of the 4 patients"):
        refuse_seen_patients(test + renamed, settings)


def test_the_class_follows_the_chosen_rule(painted: Path) -> None:
    folds = range(5)
    default = nodule_datalist(painted, folds=folds)
    every = nodule_datalist(painted, folds=folds, malignancy_threshold=3.5, exclude_score=None)
    for item, item_of_all in zip(default, every, strict=True):
        assert math.isnan(item["malignant"]) == (item["malignancy_mean"] == 3)
        assert item_of_all["malignant"] == float(item["malignancy_mean"] >= 3.5)
    from_a_command_line = nodule_datalist(painted, folds=folds, malignancy_threshold=3.5, exclude_score=False)
    assert [item["malignant"] for item in from_a_command_line] == [item["malignant"] for item in every]


def test_the_median_may_be_another_class(painted: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(painted, tmp_path / "data")
    table = read_table(copy / "nodules.csv")
    write_table(copy / "nodules.csv", table.assign(malignancy_median=6 - table["malignancy_mean"]))
    by_mean, by_median = (nodule_datalist(copy, folds=[0], malignancy=how) for how in ("mean", "median"))
    for one, other in zip(by_mean, by_median, strict=True):
        assert math.isnan(one["malignant"]) or one["malignant"] == 1 - other["malignant"]
    with pytest.raises(ValueError, match="'mean' or 'median'"):
        nodule_datalist(copy, folds=[0], malignancy="mode")


def test_a_column_that_a_method_needs_is_named(painted: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(painted, tmp_path / "data")
    write_table(copy / "nodules.csv", read_table(copy / "nodules.csv").drop(columns=["margin_mean"]))
    nodule_datalist(copy, folds=[0])
    with pytest.raises(InputError, match="lacks the column margin_mean"):
        nodule_datalist(copy, folds=[0], columns=ATTRIBUTE_COLUMNS)


def test_attributes_go_to_one_and_back(painted: Path) -> None:
    items = nodule_datalist(painted, folds=range(5), columns=ATTRIBUTE_COLUMNS)
    for item in items:
        scaled = scaled_attributes(item)
        assert ((scaled >= 0) & (scaled <= 1)).all()
        np.testing.assert_allclose(original_scale(scaled), [item[column] for column in ATTRIBUTE_COLUMNS], atol=1e-5)
    assert original_scale(np.ones(8)).tolist() == [HIGHEST_RATING[name] for name in ATTRIBUTES]
    assert attribute_medians(items)["internal_structure"] == 1


def test_a_model_that_was_trained_on_every_fold_is_tested_elsewhere(painted: Path) -> None:
    for fold in ("all", None):  # its test fold, and its validation fold
        with pytest.raises(InputError, match=r"leaves none to evaluate: name one that left a fold out \(--output_dir"):
            nodule_datalist(painted, folds=[fold])
    items = nodule_datalist(painted, folds=[0])
    settings = {"patients_seen": [items[0]["patient_id"]], "patients_validated": [], "fold": "all"}
    with pytest.raises(InputError, match=r"took part in this model's training .*: name one that left a fold out"):
        refuse_seen_patients(items, settings)


def test_the_table_of_folds_decides(painted: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(painted, tmp_path / "data")
    write_table(copy / "nodules.csv", read_table(copy / "nodules.csv").assign(fold=0))
    of_copy, original = (nodule_datalist(folder, folds=[1, 2]) for folder in (copy, painted))
    assert [(item["nodule_id"], item["fold"]) for item in of_copy] == [
        (item["nodule_id"], item["fold"]) for item in original
    ]
