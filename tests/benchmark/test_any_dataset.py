"""``--evaluate_only`` takes any dataset in the layout: less than convert writes, or something wrong in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from lung_nodule.benchmark.dataset import Dataset, folds_of, read_dataset
from lung_nodule.benchmark.measurements.nodule_measurements import measure_nodule, measure_nodules, radiomics_columns
from lung_nodule.data import nodule_datalist
from lung_nodule.errors import InputError


@pytest.fixture
def dataset(painted: Path, tmp_path: Path) -> Path:
    """Four nodules of two patients whose files may be changed."""
    copy = tmp_path / "dataset"
    (copy / "voi").mkdir(parents=True)
    nodules = pd.read_csv(painted / "nodules.csv").head(4)
    nodules.to_csv(copy / "nodules.csv", index=False)
    for name in ("folds.csv", "dataset.json"):
        shutil.copy(painted / name, copy)
    for path in nodules[["ct", "mask", "reader_masks"]].to_numpy().ravel():
        shutil.copy(painted / path, copy / path)
    return copy


def read(folder: Path) -> Dataset:
    return read_dataset(folder, folds_of(folder))


def change(folder: Path, **columns: object) -> None:
    """Write columns of ``nodules.csv``."""
    table = pd.read_csv(folder / "nodules.csv")
    table.assign(**columns).to_csv(folder / "nodules.csv", index=False)


def change_voxels(path: Path, data: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(data, nibabel.load(path).affine), path)


def test_without_folds_all_are_held_out(dataset: Path) -> None:
    (dataset / "folds.csv").unlink()
    assert folds_of(dataset) == ["holdout"]
    assert {item["fold"] for item in read(dataset).items} == {"holdout"}
    assert len(read(dataset).items) == 4
    with pytest.raises(InputError, match="no such table"):
        nodule_datalist(dataset, folds=[0])


def test_every_fold_of_the_table_is_taken(dataset: Path) -> None:
    pd.DataFrame({"patient_id": ["SYN-0000", "SYN-0001"], "fold": ["7", "holdout"]}).to_csv(
        dataset / "folds.csv", index=False
    )
    assert {item["fold"] for item in read(dataset).items} == {7, "holdout"}


def test_a_patient_without_a_fold_is_named(dataset: Path) -> None:
    pd.DataFrame({"patient_id": ["SYN-0000"], "fold": [0]}).to_csv(dataset / "folds.csv", index=False)
    with pytest.raises(InputError, match=r"has no fold of 1 patients of nodules.csv \(SYN-0001, ...\)"):
        read(dataset)


def test_what_the_cohort_leaves_out_is_counted(dataset: Path) -> None:
    change(dataset, slice_thickness_mm=[1.0, 5.0, 5.0, 1.0], readers=[2, 3, 3, 3])
    assert read(dataset).left_out == 3
    whole = read_dataset(dataset, folds_of(dataset), cohort={"min_readers": 1, "max_slice_thickness_mm": 5.0})
    assert whole.left_out == 0


@pytest.mark.parametrize("without", ["column", "cells"])
def test_without_the_readers_own_masks(dataset: Path, without: str) -> None:
    if without == "column":
        pd.read_csv(dataset / "nodules.csv").drop(columns="reader_masks").to_csv(dataset / "nodules.csv", index=False)
    else:
        change(dataset, reader_masks=np.nan)
    row = measure_nodule(read(dataset).items[0])
    assert row["threshold_dice"] > 0.8
    assert not [name for name in row if name.startswith("reader")]


def test_an_empty_consensus_mask_leaves_the_other_nodules(dataset: Path, tmp_path: Path) -> None:
    items = read(dataset).items
    whole = measure_nodules(items, out=tmp_path, fingerprint="whole").set_index("nodule_id")
    change_voxels(Path(items[1]["mask"]), np.zeros(nibabel.load(items[1]["mask"]).shape, np.uint8))
    table = measure_nodules(items, out=tmp_path, fingerprint="empty").set_index("nodule_id")
    columns = [*radiomics_columns(whole), "threshold_dice", "true_log_volume"]
    empty = items[1]["nodule_id"]
    assert table.loc[empty, columns].isna().all()
    pd.testing.assert_frame_equal(table.drop(index=empty)[columns], whole.drop(index=empty)[columns])


def test_other_voxels_are_another_dataset(dataset: Path) -> None:
    """Also where the file keeps its size."""
    item = read(dataset).items[0]
    plain = Path(item["ct"]).with_suffix("")
    voxels = nibabel.load(item["ct"])
    nibabel.save(nibabel.Nifti1Image(np.asarray(voxels.dataobj), voxels.affine), plain)
    change(
        dataset,
        ct=pd.read_csv(dataset / "nodules.csv")["ct"]
        .str.removesuffix(".gz")
        .where([True, *[False] * 3], pd.read_csv(dataset / "nodules.csv")["ct"]),
    )
    before, size = read(dataset).fingerprint, plain.stat().st_size
    change_voxels(plain, np.asarray(voxels.dataobj) + np.int16(1))
    assert plain.stat().st_size == size
    assert read(dataset).fingerprint != before


@pytest.mark.parametrize(
    ("file", "shape", "message"),
    [
        ("mask", (5, 5, 5), "does not lie on the grid"),
        ("mask", (40, 40, 20, 2), "must have 3 axes"),
        ("reader_masks", (40, 40, 20), "must have 4 axes"),
        ("reader_masks", (5, 5, 5, 3), "does not lie on the grid"),
        ("ct", (40, 40, 20, 2), "must be a non-empty volume"),
    ],
)
def test_files_of_another_shape(dataset: Path, file: str, shape: tuple[int, ...], message: str) -> None:
    item = read(dataset).items[0]
    change_voxels(Path(item[file]), np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match=message):
        measure_nodule(item)


def test_an_empty_path_is_named(dataset: Path) -> None:
    change(dataset, mask=[np.nan, *pd.read_csv(dataset / "nodules.csv")["mask"][1:]])
    with pytest.raises(InputError, match="column mask of SYN-0000_a0000 is empty"):
        read(dataset)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_dataset_json(dataset: Path, text: str) -> None:
    (dataset / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json"):
        read(dataset)
