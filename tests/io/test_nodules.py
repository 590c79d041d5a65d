"""A user's table of nodules: what is needed of it, whose rows are taken, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import read_nodules

CENTERS = np.array([[-20.0, -24.0, 150.0], [-31.5, -30.0, 131.0]])


def _table(path: Path, centers: np.ndarray = CENTERS, **columns: object) -> Path:
    table = pd.DataFrame(centers, columns=["center_x_ras", "center_y_ras", "center_z_ras"])
    table.insert(0, "nodule_id", [f"nodule_{index}" for index in range(len(table))])
    table.assign(**columns).to_csv(path, index=False)
    return path


def test_only_id_and_centre_are_read(tmp_path: Path) -> None:
    table = read_nodules(_table(tmp_path / "n.csv", malignancy_mean=[1, 5], diameter_mm=[3.0, 30.0]))
    assert list(table.columns) == ["nodule_id", "center_x_ras", "center_y_ras", "center_z_ras"]


def test_a_table_of_several_patients_needs_a_choice(tmp_path: Path) -> None:
    path = _table(tmp_path / "n.csv", patient_id=["LIDC-IDRI-0001", "LIDC-IDRI-0002"])
    with pytest.raises(InputError, match="2 values of patient_id: select the CT's rows with --patient_id"):
        read_nodules(path, keep={"patient_id": None})
    table = read_nodules(path, keep={"patient_id": "LIDC-IDRI-0002"})
    assert list(table["nodule_id"]) == ["nodule_1"]
    for short in ("0002", 2, "lidc-idri-0002"):
        pd.testing.assert_frame_equal(read_nodules(path, keep={"patient_id": short}), table)
    with pytest.raises(InputError, match="no nodule with patient_id LIDC-IDRI-0003"):
        read_nodules(path, keep={"patient_id": "LIDC-IDRI-0003"})
    with pytest.raises(InputError, match="no column series_uid"):
        read_nodules(path, keep={"series_uid": "1.2"})


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["../../a", "b"], "cannot name a file"),
        (["a", "a"], "is in several rows"),
        ([None, "a"], "cannot name a file"),
        ([".hidden", "a"], "cannot name a file"),
    ],
)
def test_ids_that_cannot_name_a_mask_are_refused(tmp_path: Path, ids: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_nodules(_table(tmp_path / "n.csv", nodule_id=ids))


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no nodule"):
        read_nodules(_table(tmp_path / "n.csv", np.zeros((0, 3))))


def test_a_length_that_is_no_number_is_named_with_its_line(tmp_path: Path) -> None:
    """An editor counts empty lines, and the rows that are left out."""
    rows = "other,0,0,0,5,p2\n\na,1,2,3,big,p1\n"
    (tmp_path / "n.csv").write_text(f"nodule_id,center_x_ras,center_y_ras,center_z_ras,diameter_mm,patient_id\n{rows}")
    with pytest.raises(InputError, match=r"n\.csv, line 4: column diameter_mm holds 'big'"):
        read_nodules(tmp_path / "n.csv", keep={"patient_id": "p1"}, optional=["diameter_mm"])


def test_a_method_may_need_more(tmp_path: Path) -> None:
    path = _table(tmp_path / "n.csv", diameter_mm=[3.0, 30.0], ct=["a.nii.gz", "b.nii.gz"])
    table = read_nodules(path, columns=["diameter_mm"], optional=["ct", "series_uid"])
    assert list(table.columns) == ["nodule_id", "center_x_ras", "center_y_ras", "center_z_ras", "diameter_mm", "ct"]
    with pytest.raises(InputError, match=r"lacks the column diameter_mm"):
        read_nodules(_table(tmp_path / "n.csv"), columns=["diameter_mm"])


@pytest.mark.parametrize("names", [["center_x_lps", "center_y_lps", "center_z_lps"], ["coordX", "coordY", "coordZ"]])
def test_lps_columns_are_recognised(tmp_path: Path, names: list[str]) -> None:
    table = pd.read_csv(_table(tmp_path / "n.csv"))
    table.set_axis(["nodule_id", *names], axis=1).to_csv(tmp_path / "n.csv", index=False)
    with pytest.raises(InputError, match=rf"gives {', '.join(names)} \(LPS.*negate x and y, keep z"):
        read_nodules(tmp_path / "n.csv")


def test_a_centre_that_is_no_number_is_named(tmp_path: Path) -> None:
    centers = CENTERS.copy()
    centers[1, 2] = np.nan
    with pytest.raises(InputError, match=r"line 3: column center_z_ras holds nan, not a number"):
        read_nodules(_table(tmp_path / "n.csv", centers))
