"""From the database to a training set: no hold-out patient is in it, and no patient is in two folds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from lung_nodule.data import nodule_datalist
from lung_nodule.errors import InputError
from lung_nodule.holdout import HOLDOUT, LIST, holdout_patients
from lung_nodule.io import write_table
from lung_nodule.library_version import library_files
from preprocessing.lidc.cohorts import chosen_nodules
from preprocessing.lidc.folds import committed_folds
from preprocessing.lidc.presets import PRESETS


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of all 2651 nodules without its voxels, which a datalist does not look at."""
    folder = tmp_path_factory.mktemp("tables")
    nodules = pd.DataFrame(row for *_, row in chosen_nodules(PRESETS["all"]))
    nodules[["center_x_ras", "center_y_ras", "center_z_ras", "volume_mm3"]] = 0.0
    nodules[["ct", "mask", "reader_masks"]] = "voi/absent.nii.gz"
    write_table(folder / "nodules.csv", nodules)
    write_table(folder / "folds.csv", committed_folds(nodules["patient_id"]))
    return folder


def patients(tables: Path, folds: list[int | str]) -> set[str]:
    return {
        item["patient_id"] for item in nodule_datalist(tables, folds=folds, min_readers=1, max_slice_thickness_mm=99)
    }


def test_numbered_folds_hold_no_holdout_patient(tables: Path) -> None:
    trained, held = patients(tables, [0, 1, 2, 3, 4]), patients(tables, ["holdout"])
    assert held
    assert held <= holdout_patients()
    assert not trained & holdout_patients()
    assert len(trained | held) == 875


@pytest.mark.parametrize("fold", range(5))
def test_no_patient_of_a_fold_is_in_another(tables: Path, fold: int) -> None:
    others = [other for other in range(5) if other != fold]
    assert not patients(tables, [fold]) & patients(tables, others)


def put_into_fold(tables: Path, copy: Path, moved: dict[str, str]) -> Path:
    """The dataset with some patients' folds changed."""
    shutil.copytree(tables, copy)
    folds = pd.read_csv(copy / "folds.csv", dtype=str)
    folds["fold"] = folds["patient_id"].map(moved).fillna(folds["fold"])
    write_table(copy / "folds.csv", folds)
    return copy


@pytest.mark.parametrize("asked", [[0], [2], [HOLDOUT]])
def test_folds_that_contradict_the_list_are_refused(tables: Path, tmp_path: Path, asked: list[int | str]) -> None:
    """Whatever folds are asked for: the table is not to be trusted."""
    first, second = sorted(patients(tables, [HOLDOUT]))[:2]
    copy = put_into_fold(tables, tmp_path / "copy", {first: "2", second: "4"})
    line = rf"folds\.csv puts 2 hold-out patients into numbered folds \({first} into 2, {second} into 4\).*holdout"
    with pytest.raises(InputError, match=line):
        patients(copy, asked)


def test_further_patients_may_be_held_out(tables: Path, tmp_path: Path) -> None:
    (another, *_) = sorted(patients(tables, [0]))
    copy = put_into_fold(tables, tmp_path / "copy", {another: HOLDOUT})
    assert another in patients(copy, [HOLDOUT])
    assert another not in patients(copy, [0])


def test_there_is_one_list_and_every_package_carries_it() -> None:
    root = Path(__file__).parents[1]
    assert [*root.glob("lung_nodule/**/holdout*.txt"), *root.glob("preprocessing/**/holdout*.txt")] == [LIST]
    assert LIST in library_files()
    assert '"holdout_patients.txt"' in (root / "pyproject.toml").read_text()
