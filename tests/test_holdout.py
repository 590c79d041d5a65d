"""From the database to a training set: no hold-out patient is in it, and no patient is in two folds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lung_nodule.data import nodule_datalist
from lung_nodule.io import write_table
from preprocessing.cohorts import chosen_nodules
from preprocessing.folds import committed_folds, holdout_patients
from preprocessing.presets import PRESETS


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
