"""Conversion of the two real series: equal to the published VOIs and to the DICOM, and LUNA16's nodules lie in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.io import read_nifti
from preprocessing.candidates import CandidateSettings, Tables, write_candidates
from preprocessing.convert import convert
from preprocessing.dataset import ConversionSettings
from tests.preprocessing.candidates.test_candidates import CENTER
from tests.preprocessing.conftest import SHARED, published_table
from tests.preprocessing.convert.test_conversion import check_against_dicom, digests, read_nodules
from tests.preprocessing.layouts import LAYOUTS, files_in_order, rearrange
from tests.slow import slow_except

PUBLISHED = ["LIDC-IDRI-0006_a0117", "LIDC-IDRI-0013_a0205"]


def test_all_nodules_of_both_scans(real_dataset: Path) -> None:
    nodules = read_nodules(real_dataset)
    assert nodules.groupby("patient_id").size().to_dict() == {"LIDC-IDRI-0006": 4, "LIDC-IDRI-0013": 3}
    folds = pd.read_csv(real_dataset / "folds.csv")
    assert folds["fold"].nunique() == 2


def test_rows_equal_the_published_ones(real_dataset: Path, lidc_vois: Path) -> None:
    for name in ("nodules", "annotations"):
        ours, theirs = pd.read_csv(real_dataset / f"{name}.csv"), published_table(lidc_vois, name)
        ours, theirs = (table[table["nodule_id"].isin(PUBLISHED)].reset_index(drop=True) for table in (ours, theirs))
        assert len(theirs) >= len(PUBLISHED)
        pd.testing.assert_frame_equal(ours[theirs.columns.tolist()], theirs, check_dtype=False)


@pytest.mark.parametrize("nodule_id", PUBLISHED)
def test_voxels_equal_the_published_ones_at_the_same_world_positions(
    real_dataset: Path, lidc_vois: Path, nodule_id: str
) -> None:
    for kind in ("ct", "mask", "readers"):
        ours, theirs = (read_nifti(root / "voi" / f"{nodule_id}_{kind}.nii.gz") for root in (real_dataset, lidc_vois))
        start = ours.to_index(theirs.to_world(np.zeros(3)))
        np.testing.assert_allclose(start, np.rint(start), atol=1e-3)
        part = tuple(slice(a, a + n) for a, n in zip(np.rint(start).astype(int), theirs.shape, strict=True))
        np.testing.assert_array_equal(ours.data[part], theirs.data)
        assert kind == "ct" or (ours.data > 0).sum() == (theirs.data > 0).sum()


def test_vois_equal_the_dicom(real_dataset: Path, lidc_dicom: Path) -> None:
    for patient in ("LIDC-IDRI-0006", "LIDC-IDRI-0013"):
        check_against_dicom(real_dataset, next((lidc_dicom / patient).glob("*/*")))


@pytest.mark.parametrize("name", slow_except({"uuid"}, ["series UID", "uuid", "no names at all"]))
def test_every_layout_gives_the_same_files_in_the_same_order(name: str, lidc_dicom: Path, tmp_path: Path) -> None:
    assert files_in_order(rearrange(lidc_dicom, tmp_path, LAYOUTS[name])) == files_in_order(lidc_dicom)


@pytest.mark.slow
def test_another_layout_gives_the_same_dataset(real_dataset: Path, lidc_dicom: Path, tmp_path: Path) -> None:
    root = rearrange(lidc_dicom, tmp_path / "root", LAYOUTS["no names at all"])
    assert convert(root, tmp_path / "out", patients=None, workers=1, settings=ConversionSettings()) == []
    assert digests(tmp_path / "out") == digests(real_dataset)


def test_luna16s_annotations_meet_the_real_nodules(real_dataset: Path, tmp_path: Path) -> None:
    """LUNA16's three nodules of LIDC-IDRI-0006 and -0013 lie on the centres that ``convert`` finds."""
    annotations = SHARED / "tables" / "luna16_annotations.csv"
    if not annotations.is_file():
        pytest.skip("LUNA16's annotations are not at ../shared/data/tables")
    dataset = shutil.copytree(real_dataset, tmp_path / "dataset")
    scans = pd.read_csv(dataset / "scans.csv")
    own = pd.read_csv(annotations).query("seriesuid in @scans.series_uid")
    own.assign(**{"class": 1}).to_csv(tmp_path / "candidates.csv", index=False)
    scans.assign(seriesuid=scans["series_uid"], subset=[0, 1]).to_csv(tmp_path / "subsets.csv", index=False)
    paths = Tables(tmp_path / "candidates.csv", tmp_path / "subsets.csv", annotations)
    assert write_candidates(dataset, paths, settings=CandidateSettings()) == []
    written = pd.read_csv(dataset / "candidates" / "candidates.csv")
    nodules = pd.read_csv(dataset / "nodules.csv")
    assert len(written) == 3
    for row in written.itertuples():
        near = nodules[nodules["series_uid"] == row.series_uid]
        distance = np.linalg.norm(near[CENTER].to_numpy() - [getattr(row, name) for name in CENTER], axis=1)
        assert distance.min() < 0.5
        assert near["readers"].iloc[distance.argmin()] == 4
        voi = read_nifti(dataset / row.voi)
        at = np.rint(voi.to_index(np.array([getattr(row, name) for name in CENTER]))).astype(int)
        assert voi.data[tuple(at)] > -400  # inside the nodule
