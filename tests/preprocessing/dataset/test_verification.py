"""``verify`` reports every kind of damage in one line, and nothing else."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import Volume, read_nifti, write_nifti, write_table
from preprocessing.__main__ import main
from preprocessing.dataset import verify
from tests.preprocessing.conftest import SMALL


@pytest.fixture
def dataset(small_dataset: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(small_dataset, tmp_path / "dataset"))


def renew_manifest(dataset: Path) -> None:
    """Make the manifest match edited files."""
    lines = []
    for line in (dataset / "MANIFEST.sha256").read_text().splitlines():
        name = line.split("  ")[1]
        lines.append(f"{hashlib.sha256((dataset / name).read_bytes()).hexdigest()}  {name}\n")
    (dataset / "MANIFEST.sha256").write_text("".join(lines))


def edit(dataset: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a table, both CSV and Parquet."""
    table = change(pd.read_parquet(dataset / f"{name}.parquet"))
    for kind in ("csv", "parquet"):
        write_table(dataset / f"{name}.{kind}", table)
    renew_manifest(dataset)


def first_voi(dataset: Path, kind: str) -> Path:
    return sorted((dataset / "voi").glob(f"*_{kind}.nii.gz"))[0]


def test_a_sound_dataset(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert main(["verify", "--dataset", str(dataset)]) == 0
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.endswith("files, sound")


def test_files(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone, changed = first_voi(dataset, "ct"), dataset / "qc" / f"{SMALL}_s0.png"
    gone.unlink()
    content = bytearray(changed.read_bytes())
    content[-20] ^= 1
    changed.write_bytes(content)
    (dataset / "voi" / "notes.txt").write_text("mine")
    (dataset / "scans" / ".x.0123456789ab.nii.gz").write_text("half")
    with caplog.at_level(logging.INFO):
        assert main(["verify", "--dataset", str(dataset)]) == 1
    messages = [record.getMessage() for record in caplog.records]
    assert sorted(messages[:-1]) == [
        f"changed: qc/{SMALL}_s0.png",
        "extra: scans/.x.0123456789ab.nii.gz (left by an interrupted run)",
        "extra: voi/notes.txt",
        f"missing: voi/{gone.name}",
    ]
    assert messages[-1].endswith("4 problems")


def nodule_ids(dataset: Path) -> list[str]:
    return pd.read_csv(dataset / "nodules.csv")["nodule_id"].tolist()


def larger(nodules: pd.DataFrame) -> pd.DataFrame:
    return nodules.assign(volume_mm3=nodules["volume_mm3"] + [1.0, *[0.0] * (len(nodules) - 1)])


def moved(nodules: pd.DataFrame) -> pd.DataFrame:
    return nodules.assign(center_z_ras=nodules["center_z_ras"] + [0.5, *[0.0] * (len(nodules) - 1)])


@pytest.mark.parametrize(
    ("name", "change", "parts"),
    [
        ("nodules", larger, ["nodules.csv gives {id} ", " mm3, its mask "]),
        ("nodules", moved, ["nodules.csv gives {id} another centre than its mask"]),
        ("annotations", lambda table: table.iloc[1:], ["gives {id} ", " readers, annotations.csv ", "dataset.json"]),
        ("scans", lambda table: table.assign(slices=table["slices"] + 1), ["scans.csv gives {scan} ", "its label map"]),
        (
            "scans",
            lambda table: table.assign(spacing_z_mm=table["spacing_z_mm"] * 1.01),
            ["scans.csv gives {scan} another spacing"],
        ),
        ("scans", lambda table: table.assign(nodules=table["nodules"] + 1), ["scans.csv gives {scan} ", " nodules, "]),
        ("folds", lambda table: table.iloc[:0], ["scans.csv names patients that folds.csv lacks: {patient}"]),
        ("folds", lambda table: pd.concat([table, table]), ["folds.csv lists {patient} twice"]),
        (
            "nodules",
            lambda table: table.iloc[1:],
            ["annotations.csv names nodules that nodules.csv lacks: {id}", "no row of nodules.csv names voi/{id}_ct"],
        ),
    ],
)
def test_tables_that_disagree_with_the_files_or_each_other(
    name: str, change: Callable[[pd.DataFrame], pd.DataFrame], parts: list[str], dataset: Path
) -> None:
    """The manifest is right in each case: only the contents differ."""
    words = {"id": nodule_ids(dataset)[0], "scan": f"{SMALL}_s0", "patient": SMALL}
    edit(dataset, name, change)
    problems = verify(dataset)
    assert all(problem.startswith("tables: ") for problem in problems)
    for part in parts:
        assert any(part.format(**words) in problem for problem in problems), problems


def test_parquet_and_csv_must_say_the_same(dataset: Path) -> None:
    write_table(dataset / "nodules.parquet", larger(pd.read_parquet(dataset / "nodules.parquet")))
    renew_manifest(dataset)
    assert verify(dataset) == ["tables: nodules.csv and nodules.parquet differ"]


def test_a_column_that_is_gone(dataset: Path) -> None:
    edit(dataset, "nodules", lambda table: table.drop(columns="mask"))
    assert any("nodules.csv lacks the column mask" in problem for problem in verify(dataset))


@pytest.mark.parametrize(("name", "column"), [("nodules", "mask"), ("scans", "nodule_labels"), ("scans", "scan")])
def test_an_empty_cell_is_named_with_its_line(name: str, column: str, dataset: Path) -> None:
    edit(dataset, name, lambda table: table.assign(**{column: [None, *table[column][1:]]}))
    assert verify(dataset) == [f"table: {dataset / name}.csv, line 2: column {column} is empty"]


def test_a_scans_files_without_its_row(dataset: Path) -> None:
    """The second scan of a patient whose first one is in the tables."""
    extra = f"scans/{SMALL}_s1.json"
    (dataset / extra).write_text("{}")
    manifest = dataset / "MANIFEST.sha256"
    manifest.write_text(manifest.read_text() + f"{hashlib.sha256(b'{}').hexdigest()}  {extra}\n")
    assert verify(dataset) == [f"tables: no row of scans.csv names {extra}"]


def test_voxels_that_no_row_explains(dataset: Path) -> None:
    path = dataset / "scans" / f"{SMALL}_s0_nodules.nii.gz"
    labels = read_nifti(path)
    data = np.array(labels.data)
    data[0, 0, 0] = 99
    write_nifti(path, Volume(data, labels.affine))
    readers = first_voi(dataset, "readers")
    volume = read_nifti(readers)
    write_nifti(readers, Volume(volume.data[..., :1], volume.affine))
    soft = sorted((dataset / "voi").glob("*_soft.nii.gz"))[1]
    volume = read_nifti(soft)
    write_nifti(soft, Volume(1 - volume.data, volume.affine))
    renew_manifest(dataset)
    problems = verify(dataset)
    assert len(problems) == 3
    assert any(f"voi/{soft.name} is not the mean of" in problem for problem in problems)
    assert f"tables: the label map of {SMALL}_s0 holds labels without a nodule: [99]" in problems
    assert any(f"voi/{readers.name} is of shape" in problem for problem in problems)


def test_a_manifest_without_a_files_line(dataset: Path) -> None:
    manifest = dataset / "MANIFEST.sha256"
    voi = f"voi/{first_voi(dataset, 'mask').name}"
    manifest.write_text("".join(line for line in manifest.read_text().splitlines(True) if voi not in line))
    assert verify(dataset) == [f"extra: {voi}", f"tables: {voi} is named, but the manifest lacks it"]


def test_dataset_json_that_cannot_be_read(dataset: Path) -> None:
    (dataset / "dataset.json").write_text(json.dumps({"counts": None}))
    renew_manifest(dataset)
    assert [problem.split(":")[0] for problem in verify(dataset)] == ["table"]


def test_what_is_no_dataset_is_refused(tmp_path: Path, dataset: Path) -> None:
    with pytest.raises(InputError, match=r"no MANIFEST\.sha256 in"):
        verify(tmp_path)
    for damaged in (b"half a li", b"\xff\xfe\x00"):
        (dataset / "MANIFEST.sha256").write_bytes(damaged)
        with pytest.raises(InputError, match="line 1: not a checksum and a path"):
            verify(dataset)
    assert main(["verify", "--dataset", str(tmp_path / "absent")]) == 2
