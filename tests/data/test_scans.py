"""A user's CT and table of centres become what a network sees, without masks, ratings or folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.core import CubeView, PlanesView, SlicesView, SquareView
from lung_nodule.data import (
    CubeChannels,
    LoadVOI,
    ViewNodule,
    inference_datalist,
    scan_datalist,
    scans,
)
from lung_nodule.errors import InputError
from lung_nodule.io import Volume, read_nifti, write_nifti
from tests.io.dicom_series import UID_ROOT
from tests.user_ct import CENTERS, DIAMETERS, FLIPPED, LPS, chest, write_centers, write_ct, write_dicom

SLICES = SlicesView(patch_mm=48.0, z_patch_mm=40.0, image_size=32)
VIEWS = {
    "mtnet": SLICES,
    "mtmrnet": SquareView(image_size=32),
    "mtcnn": PlanesView(patch_mm=40.0, image_size=32, order=1),
    "e2emtl": CubeView(patch_mm=48.0, image_size=32, make_channels=CubeChannels(["ct", "otsu"])),
}


@pytest.mark.parametrize("bundle", VIEWS)
@pytest.mark.parametrize("affine", [LPS, FLIPPED], ids=["lps", "flipped"])
def test_a_network_sees_the_ct_around_the_centre(bundle: str, affine: np.ndarray, tmp_path: Path) -> None:
    """The same as if the whole CT were its VOI: the cut holds all that the view looks at."""
    view = VIEWS[bundle]
    ct = write_ct(tmp_path / "scan.nii.gz", affine)
    items = scan_datalist(write_centers(tmp_path / "n.csv", diameter_mm=DIAMETERS), ct=ct, view=view)
    assert [item["nodule_id"] for item in items] == ["nodule_0", "nodule_1"]
    load = LoadVOI(with_mask=False)
    for item, center, diameter in zip(items, CENTERS, DIAMETERS, strict=True):
        whole = dict(zip((f"center_{axis}_ras" for axis in "xyz"), center, strict=True))
        whole |= {"ct": str(ct), "nodule_id": "whole", "diameter_mm": diameter, "malignant": np.nan}
        seen, expected = (np.asarray(ViewNodule(view)(load(one))["image"]) for one in (item, whole))
        assert np.isnan(item["malignant"])
        assert seen.std() > 0.05
        np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_only_what_the_method_needs_is_asked_for(tmp_path: Path) -> None:
    ct, table = write_ct(tmp_path / "scan.nii.gz"), write_centers(tmp_path / "n.csv")
    for bundle in ("mtnet", "mtcnn", "e2emtl"):
        assert len(scan_datalist(table, ct=ct, view=VIEWS[bundle])) == 2
    with pytest.raises(InputError, match=r"n\.csv lacks the column diameter_mm"):
        scan_datalist(table, ct=ct, view=VIEWS["mtmrnet"])
    write_centers(tmp_path / "n.csv", diameter_mm=[5.0, 0.0])
    with pytest.raises(InputError, match=r"nodule_1: .* needs its diameter in mm, a positive number, got 0.0"):
        scan_datalist(table, ct=ct, view=VIEWS["mtmrnet"])


def test_the_cut_grows_with_what_is_looked_at(tmp_path: Path) -> None:
    ct = Volume(np.full((200, 200, 60), -850, dtype=np.int16), np.diag([-1.0, -1.0, 2.5, 1.0]))
    write_nifti(tmp_path / "ct.nii.gz", ct)
    table = write_centers(tmp_path / "n.csv", np.array([[-100.0, -100.0, 75.0]] * 2), diameter_mm=[5.0, 60.0])
    small, large = scan_datalist(table, ct=tmp_path / "ct.nii.gz", view=VIEWS["mtmrnet"])
    assert small["ct"].shape[0] == pytest.approx(80, abs=2)
    assert large["ct"].shape[0] >= VIEWS["mtmrnet"].reach_mm(60.0) > 80


@pytest.fixture
def two_cts(tmp_path: Path) -> Path:
    """A table of four nodules in two CTs, a NIfTI file and a DICOM folder, named in turn."""
    write_ct(tmp_path / "a" / "scan.nii.gz")
    write_dicom(tmp_path / "b" / "scan")
    return write_centers(tmp_path / "n.csv", np.repeat(CENTERS, 2, axis=0), ct=["a/scan.nii.gz", "b/scan"] * 2)


def test_each_of_several_cts_is_read_once(two_cts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And by a path relative to the table; label maps of equal names get numbers."""
    read, real = [], scans.read_ct
    monkeypatch.setattr(scans, "read_ct", lambda path, **options: read.append(path) or real(path, **options))
    items = scan_datalist(two_cts, view=SLICES)
    assert read == [two_cts.parent / "a/scan.nii.gz", two_cts.parent / "b/scan"]
    assert [item["nodule_id"] for item in items] == ["nodule_0", "nodule_2", "nodule_1", "nodule_3"]
    assert [item["number"] for item in items] == [1, 2, 1, 2]
    assert [item["labels"] for item in items[1:3]] == ["nodules_scan.nii.gz", "nodules_scan_2.nii.gz"]
    np.testing.assert_allclose(ViewNodule(SLICES)(items[0])["image"], ViewNodule(SLICES)(items[2])["image"], atol=1e-5)


def test_one_of_several_series(tmp_path: Path) -> None:
    """A folder of two series is refused with both named; either the option or a column says which."""
    uids = [UID_ROOT + "2", UID_ROOT + "7"]
    for number, uid in enumerate(uids):
        write_dicom(tmp_path / "study" / str(number), series_uid=uid)
    table = write_centers(tmp_path / "n.csv")
    with pytest.raises(InputError, match=rf"2 CT series .* --series_uid: {uids[0]} \(30 files\), {uids[1]} \(30"):
        scan_datalist(table, ct=tmp_path / "study", view=SLICES)
    assert len(scan_datalist(table, ct=tmp_path / "study", series_uid=uids[1], view=SLICES)) == 2
    with pytest.raises(InputError, match=rf"no CT series 1\.2\.3 under .*; it holds {uids[0]}"):
        scan_datalist(table, ct=tmp_path / "study", series_uid="1.2.3", view=SLICES)
    by_row = write_centers(tmp_path / "n.csv", ct="study", series_uid=uids)
    assert len({item["labels"] for item in scan_datalist(by_row, view=SLICES)}) == 2


def test_what_is_no_ct_is_refused(tmp_path: Path) -> None:
    table = write_centers(tmp_path / "n.csv")
    write_dicom(tmp_path / "mr", extra={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"})
    with pytest.raises(InputError, match=r"no DICOM CT image under .* \(it holds MR Image Storage\)"):
        scan_datalist(table, ct=tmp_path / "mr", view=SLICES)
    write_nifti(tmp_path / "scaled.nii.gz", Volume(((chest().data + 1024) / 3000).astype(np.float32), LPS))
    with pytest.raises(InputError, match=r"scaled\.nii\.gz holds no voxel below -500 HU"):
        scan_datalist(table, ct=tmp_path / "scaled.nii.gz", view=SLICES)


@pytest.mark.parametrize(
    ("centers", "columns", "message"),
    [
        ([[500.0, 0.0, 0.0]], {}, r"nodule nodule_0: the centre \(500\.0, .* lies outside the CT"),
        (CENTERS * [-1, -1, 1], {}, r"nodule_0: .* are these LPS coordinates"),
        ([[np.nan, 0.0, 0.0]], {}, r"line 2: column center_x_ras holds nan, not a number"),
        (CENTERS, {"nodule_id": ["../../../x", "b"]}, r"'\.\./\.\./\.\./x' cannot name a file"),
        (CENTERS, {"nodule_id": "a"}, r"'a' is in several rows"),
        (CENTERS, {"patient_id": ["p", "q"]}, r"2 values of patient_id: select the CT's rows with --patient_id"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(
    centers: np.ndarray, columns: dict, message: str, tmp_path: Path
) -> None:
    table = write_centers(tmp_path / "n.csv", np.asarray(centers), **columns)
    with pytest.raises(InputError, match=message) as raised:
        scan_datalist(table, ct=write_ct(tmp_path / "ct.nii.gz"), view=SLICES)
    assert "\n" not in str(raised.value)


def test_every_row_names_its_ct(two_cts: Path) -> None:
    table = pd.read_csv(two_cts)
    for ct, message in ((None, "line 3: column ct is empty"), ("c.nii.gz", r"line 3: no such CT: .*c\.nii\.gz")):
        table.assign(ct=["b/scan", ct, "b/scan", "b/scan"]).to_csv(two_cts, index=False)
        with pytest.raises(InputError, match=message):
            scan_datalist(two_cts, view=SLICES)
    table.drop(columns="ct").to_csv(two_cts, index=False)
    with pytest.raises(InputError, match=r"has no column ct: add one .* or give the CT of all rows with --ct"):
        scan_datalist(two_cts, view=SLICES)


def test_a_folders_name_may_look_like_a_number(tmp_path: Path) -> None:
    write_dicom(tmp_path / "0003")
    table = write_centers(tmp_path / "n.csv", ct="0003")
    assert {item["scan"] for item in scan_datalist(table, view=SLICES)} == {str(tmp_path / "0003")}


def test_a_datasets_own_table_needs_nothing_but_its_vois(painted: Path) -> None:
    """The table of a dataset in our layout is a table of centres, too; a method sees the same."""
    options = {"view": SLICES, "folds": [0], "min_readers": 1, "max_slice_thickness_mm": 5.0}
    of_dataset = inference_datalist(dataset_dir=painted, **options)
    of_table = inference_datalist(dataset_dir=painted / "none", nodules=painted / "nodules.csv", **options)
    assert len(of_dataset) == 4
    assert len(of_table) == 20
    by_id = {item["nodule_id"]: item for item in of_table}
    for item in of_dataset:
        seen, expected = (
            ViewNodule(SLICES)(LoadVOI(with_mask=False)(one))["image"] for one in (by_id[item["nodule_id"]], item)
        )
        np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_fractions_of_a_hu_are_rounded(tmp_path: Path) -> None:
    ct = Volume((chest().data + 0.6).astype(np.float32), LPS)
    write_nifti(tmp_path / "ct.nii.gz", ct)
    item = scan_datalist(write_centers(tmp_path / "n.csv"), ct=tmp_path / "ct.nii.gz", view=SLICES)[0]
    assert item["ct"].dtype == np.int16
    np.testing.assert_array_equal(item["ct"], np.rint(ct.canonical().data[item["box"]]))
    assert item["ct"].min() < 0 < item["ct"].max(), "both signs are rounded, none is cut"


def test_inputs_that_are_missing_are_named(tmp_path: Path) -> None:
    options = {"view": SLICES, "folds": [0], "min_readers": 1, "max_slice_thickness_mm": 5.0}
    table = write_centers(tmp_path / "n.csv")
    for given, message in (
        ({}, "no dataset at"),
        ({"ct": "scan.nii.gz"}, "--ct scan.nii.gz needs --nodules TABLE"),
        ({"nodules": "absent.csv"}, "--nodules: no such file or folder: absent.csv"),
        ({"nodules": table, "ct": "absent.nii.gz"}, "--ct: no such file or folder: absent.nii.gz"),
    ):
        with pytest.raises(InputError, match=message):
            inference_datalist(dataset_dir=tmp_path / "none", **given, **options)


def test_a_ct_is_read_as_it_lies(tmp_path: Path) -> None:
    """The grid in an item is the CT's own, for the masks."""
    ct = write_ct(tmp_path / "scan.nii.gz", FLIPPED)
    item = scan_datalist(write_centers(tmp_path / "n.csv"), ct=ct, view=SLICES)[0]
    assert item["grid"].shape == read_nifti(ct).shape
    np.testing.assert_allclose(item["grid"].affine, FLIPPED, atol=1e-5)
    canonical = read_nifti(ct).canonical()
    np.testing.assert_array_equal(canonical.data[item["box"]], item["ct"])
