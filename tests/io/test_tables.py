"""Tables: read back as written; an error names the file, the column and the line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import read_table, write_table

TABLE = pd.DataFrame({"nodule_id": ["007", "b"], "center_x_ras": [1.5, -2.0], "fold": ["0", "holdout"]})


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_round_trip_keeps_ids_as_text(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / name, TABLE)
    back = read_table(tmp_path / name, required=["nodule_id", "center_x_ras"])
    assert back["nodule_id"].tolist() == ["007", "b"]
    assert back["fold"].tolist() == ["0", "holdout"]
    assert back["center_x_ras"].tolist() == [1.5, -2.0]


def test_an_id_that_looks_like_nothing_is_an_id(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("nodule_id,patient_id,center_x_ras\nNA,None,1.0\nnan,,2.0\n")
    table = read_table(tmp_path / "t.csv", required=["nodule_id", "center_x_ras"])
    assert table["nodule_id"].tolist() == ["NA", "nan"]
    assert table["patient_id"].isna().tolist() == [False, True]
    assert table["patient_id"][0] == "None"


def test_missing_file_and_missing_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such table: .*absent\.csv"):
        read_table(tmp_path / "absent.csv")
    write_table(tmp_path / "t.csv", TABLE)
    with pytest.raises(InputError, match=r"t\.csv lacks the column center_y_ras, diameter_mm \(it has: nodule_id"):
        read_table(tmp_path / "t.csv", required=["nodule_id", "center_y_ras", "diameter_mm"])


@pytest.mark.parametrize("cell", ["twelve", "", "nan", "inf"])
def test_a_cell_that_is_no_number_is_named_with_its_line(tmp_path: Path, cell: str) -> None:
    (tmp_path / "t.csv").write_text(f"nodule_id,center_x_ras\na,1.0\nb,{cell}\n")
    with pytest.raises(InputError, match=r"t\.csv, line 3: column center_x_ras"):
        read_table(tmp_path / "t.csv", required=["nodule_id", "center_x_ras"])
    assert len(read_table(tmp_path / "t.csv", required=["nodule_id", "center_x_ras"], numeric=[])) == 2


def test_empty_lines_count(tmp_path: Path) -> None:
    """A line is named as an editor counts it."""
    (tmp_path / "t.csv").write_text("nodule_id,center_x_ras\n\na,1.0\n  \nb,twelve\n")
    with pytest.raises(InputError, match=r"t\.csv, line 5: column center_x_ras"):
        read_table(tmp_path / "t.csv", required=["nodule_id", "center_x_ras"])
    (tmp_path / "t.csv").write_text("nodule_id\n\na\n\n../b\n")
    with pytest.raises(InputError, match=r"t\.csv, line 5: nodule_id"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("nodule_id\n\na\n\na\n")
    with pytest.raises(InputError, match=r"lines 3 and 5"):
        read_table(tmp_path / "t.csv", unique=["nodule_id"])


@pytest.mark.parametrize("separator", [";", "\t"])
def test_cells_are_separated_by_commas(separator: str, tmp_path: Path) -> None:
    """As a spreadsheet writes them where the comma is for decimals."""
    (tmp_path / "t.csv").write_text(f"nodule_id{separator}center_x_ras\na{separator}1,5\n")
    with pytest.raises(InputError, match="separate them by commas, with points in decimals"):
        read_table(tmp_path / "t.csv", required=["nodule_id"])


def test_no_table_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "fake.parquet").write_text("a,b")
    for name in ("empty.csv", "binary.csv", "fake.parquet"):
        with pytest.raises(InputError, match=name):
            read_table(tmp_path / name)
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        write_table(tmp_path / "t.xlsx", TABLE)
    assert not (tmp_path / "t.xlsx").exists()


def test_rows_with_more_cells_than_the_header_are_refused(tmp_path: Path) -> None:
    """pandas alone would shift them by a column."""
    (tmp_path / "t.csv").write_text("nodule_id,center_x_ras\na,1.0,\nb,2.0,\n")
    with pytest.raises(InputError, match="more cells than its header"):
        read_table(tmp_path / "t.csv")


def test_ids_of_a_parquet_table_are_text(tmp_path: Path) -> None:
    pd.DataFrame({"nodule_id": [1, 2], "patient_id": ["a", None]}).to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table["nodule_id"].tolist() == ["1", "2"]
    assert table["patient_id"].isna().tolist() == [False, True]


def test_paths_that_look_like_numbers_are_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("candidate_id,ct,mask,reader_masks,voi\n01,0003,1e3,,007\n")
    row = read_table(tmp_path / "t.csv", required=["ct", "mask"]).iloc[0]
    assert row[["candidate_id", "ct", "mask", "voi"]].tolist() == ["01", "0003", "1e3", "007"]
    assert pd.isna(row["reader_masks"])
