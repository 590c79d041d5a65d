"""Ids that become file names: refused where the table is read, whoever reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from lung_nodule.data import nodule_datalist
from lung_nodule.errors import InputError
from lung_nodule.io import as_file_names, check_file_names, read_table

REFUSED = [
    "../../../x", "/etc/x", "a/b", "a\\b", "..", ".", ".hidden", "-rf", "+x", "a b", " ", "a\0b", "a\nb", "a:b", "ä",
    "x" * 129,
]  # fmt: skip
TAKEN = ["LIDC-IDRI-0001_a0084", "1", "007", "a..b", "nodule 1".replace(" ", "_"), "x" * 128, "1.3.6.1.4.1+2"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_name_a_file_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^t\.csv, line 3: nodule_id .* cannot name a file: use 1 to 128") as raised:
        check_file_names(pd.Series(["good", name], name="nodule_id"), "t.csv")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("name", [None, float("nan"), ""])
def test_an_empty_one_too(name: object) -> None:
    with pytest.raises(InputError, match=r"line 2: nodule_id .* cannot name a file"):
        check_file_names(pd.Series([name, "good"], name="nodule_id"), "t.csv")


@pytest.mark.parametrize("name", TAKEN)
def test_plain_names_pass_and_stay_inside(name: str, tmp_path: Path) -> None:
    check_file_names(pd.Series([name], name="seriesuid"), "t.csv")
    written = (tmp_path / f"{name}_activation.nii.gz").resolve()
    written.touch()
    assert written.parent == tmp_path.resolve()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_every_table_with_a_nodule_id_is_checked_when_it_is_read(tmp_path: Path, ending: str) -> None:
    """Also where the caller does not ask for the column."""
    path = tmp_path / f"t.{ending}"
    table = pd.DataFrame({"nodule_id": ["a", "../../../x"], "center_x_ras": [1.0, 2.0]})
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    with pytest.raises(InputError, match=r"line 3: nodule_id '\.\./\.\./\.\./x' cannot name a file"):
        read_table(path, required=["center_x_ras"])


def test_nul_is_no_end_of_an_id(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"nodule_id,center_x_ras\na\0b,1\n")
    with pytest.raises(InputError, match=r"cannot read .*t\.csv as a table: it holds NUL bytes"):
        read_table(tmp_path / "t.csv")


def test_ids_may_repeat_only_where_the_table_allows_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("nodule_id,reader\nb,1\na,1\na,2\n")
    assert len(read_table(path)) == 3
    with pytest.raises(InputError, match=r"nodule_id 'a' is in several rows \(lines 3 and 4\)"):
        read_table(path, unique=["nodule_id"])


@pytest.mark.parametrize(("name", "said"), [("../../../x", "cannot name a file"), (None, "is in several rows")])
def test_a_bundles_datalist_refuses_them(painted: Path, tmp_path: Path, name: str | None, said: str) -> None:
    dataset = shutil.copytree(painted, tmp_path / "dataset")
    table = pd.read_csv(dataset / "nodules.csv")
    table.loc[3, "nodule_id"] = name or table.loc[0, "nodule_id"]
    table.to_csv(dataset / "nodules.csv", index=False)
    with pytest.raises(InputError, match=said):
        nodule_datalist(dataset, folds=range(5))


def test_many_equal_texts_are_numbered() -> None:
    assert as_file_names(["a"] * 20_000, otherwise="b")[-1] == "a_20000"


def test_free_texts_become_different_file_names() -> None:
    """Every one is taken by the table that names the files."""
    texts = [*REFUSED, *TAKEN, "", "", "Lung nodule, left", "Lung nodule; left", "x" * 300]
    names = as_file_names(texts, otherwise="nodule")
    check_file_names(pd.Series(names, name="nodule_id"), "t.csv")
    assert len(set(names)) == len(names) == len(texts)
    assert names[len(REFUSED) : len(REFUSED) + 2] == TAKEN[:2]
