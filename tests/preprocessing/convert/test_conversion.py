"""Conversion of a cheap series with real geometry: layout, world positions, masks, refusals, resume."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import read_nifti, read_table
from preprocessing.convert import convert
from preprocessing.convert.sources import Sources, series_of
from preprocessing.dataset import ConversionSettings
from preprocessing.dataset.rows import NODULE_COLUMNS
from preprocessing.lidc import database
from preprocessing.lidc.records import ScanRecord
from tests.preprocessing.conftest import SEVERAL, SMALL, published_table, write_scan

VOI_KINDS = ("ct", "mask", "readers", "soft")


def read_nodules(dataset: Path) -> pd.DataFrame:
    return read_table(dataset / "nodules.csv", required=NODULE_COLUMNS[:-1]).set_index("nodule_id", drop=False)


def digests(dataset: Path) -> dict[str, str]:
    lines = (dataset / "MANIFEST.sha256").read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def check_against_dicom(dataset: Path, folder: Path) -> None:
    """Every voxel of every VOI equals the HU of the DICOM pixel at the same world position, read by pydicom alone."""
    slices = {}
    for path in sorted(folder.glob("*.dcm")):
        header = pydicom.dcmread(path)
        slices[round(float(header.ImagePositionPatient[2]), 2)] = header
    for nodule_id in read_nodules(dataset).index:
        if nodule_id.split("_")[0] != str(header.PatientID):
            continue
        voi = read_nifti(dataset / "voi" / f"{nodule_id}_ct.nii.gz")
        x, y, z = np.indices(voi.shape)
        lps = voi.to_world(np.stack([x, y, z], axis=-1)) * [-1, -1, 1]
        for k in range(voi.shape[2]):
            header = slices[round(float(lps[0, 0, k, 2]), 2)]
            along_column, along_row = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
            offset = lps[:, :, k] - np.array(header.ImagePositionPatient, dtype=float)
            columns = offset @ along_column / header.PixelSpacing[1]
            rows = offset @ along_row / header.PixelSpacing[0]
            assert np.abs(columns - np.rint(columns)).max() < 0.01
            hu = header.pixel_array[np.rint(rows).astype(int), np.rint(columns).astype(int)] + header.RescaleIntercept
            np.testing.assert_array_equal(voi.data[:, :, k], hu)


def test_the_layout_is_complete(small_dataset: Path) -> None:
    names = {str(path.relative_to(small_dataset)) for path in small_dataset.rglob("*") if path.is_file()}
    nodules = read_nodules(small_dataset)
    expected = {f"voi/{nodule_id}_{kind}.nii.gz" for nodule_id in nodules.index for kind in VOI_KINDS}
    expected |= {
        f"{table}.{kind}" for table in ("scans", "nodules", "annotations", "folds") for kind in ("csv", "parquet")
    }
    expected |= {f"scans/{SMALL}_s0{ending}" for ending in ("_ct.nii.gz", "_nodules.nii.gz", ".json")}
    expected |= {"dataset.json", "MANIFEST.sha256", "skipped.csv", f"qc/{SMALL}_s0.png"}
    assert names == expected
    assert set(digests(small_dataset)) == expected - {"MANIFEST.sha256", "skipped.csv"}
    for name, digest in digests(small_dataset).items():
        assert hashlib.sha256((small_dataset / name).read_bytes()).hexdigest() == digest, name


def test_tables_agree_with_each_other(small_dataset: Path) -> None:
    nodules = read_nodules(small_dataset)
    annotations = pd.read_csv(small_dataset / "annotations.csv")
    assert list(nodules.columns) == NODULE_COLUMNS
    assert nodules["readers"].to_dict() == annotations.groupby("nodule_id").size().to_dict()
    for name in ("malignancy", "texture"):
        per_nodule = annotations.groupby("nodule_id")[name]
        np.testing.assert_allclose(nodules[f"{name}_mean"], per_nodule.mean()[nodules.index], atol=1e-4)
        np.testing.assert_allclose(nodules[f"{name}_median"], per_nodule.median()[nodules.index])
    counts = json.loads((small_dataset / "dataset.json").read_text())["counts"]
    assert (counts["scans"], counts["nodules"], counts["annotations"]) == (1, len(nodules), len(annotations))
    for name in ("scans", "nodules", "annotations", "folds"):
        csv, parquet = (read_table(small_dataset / f"{name}.{kind}") for kind in ("csv", "parquet"))
        assert csv.columns.tolist() == parquet.columns.tolist()
        assert csv.fillna("").astype(str).equals(parquet.fillna("").astype(str))


def test_columns_are_those_of_the_published_dataset(lidc_vois: Path, small_dataset: Path) -> None:
    for name in ("nodules", "annotations", "folds"):
        published = published_table(lidc_vois, name).columns.tolist()
        assert pd.read_csv(small_dataset / f"{name}.csv", nrows=1).columns.tolist()[: len(published)] == published


def test_each_volume_has_its_own_name_and_description(small_dataset: Path) -> None:
    """A reader's contours enclose more than the voxels of the reader's mask, which leaves out their own points."""
    nodules = read_nodules(small_dataset)
    annotations = pd.read_csv(small_dataset / "annotations.csv")
    assert "volume_mm3" not in annotations.columns
    assert "contour_volume_mm3" not in nodules.columns
    for mark in annotations.itertuples():
        readers = read_nifti(small_dataset / nodules.loc[mark.nodule_id, "reader_masks"])
        voxels = readers.data[..., mark.reader].sum() * np.prod(readers.spacing)
        assert mark.contour_volume_mm3 > voxels
    rules = json.loads((small_dataset / "dataset.json").read_text())["rules"]
    assert "consensus mask" in rules["volume_mm3"]
    assert "contours" in rules["contour_volume_mm3"]


def test_vois_equal_the_dicom_at_the_same_world_position(small_dataset: Path, small_root: Path) -> None:
    check_against_dicom(small_dataset, next(small_root.glob("*/*/*")))


def test_masks_labels_centres_and_volumes_agree(small_dataset: Path) -> None:
    labels = read_nifti(small_dataset / "scans" / f"{SMALL}_s0_nodules.nii.gz")
    whole = read_nifti(small_dataset / "scans" / f"{SMALL}_s0_ct.nii.gz")
    for row in read_nodules(small_dataset).itertuples():
        ct, mask, readers = (read_nifti(small_dataset / getattr(row, kind)) for kind in ("ct", "mask", "reader_masks"))
        assert ct.shape == mask.shape == readers.shape
        assert readers.data.shape[3] == row.readers
        np.testing.assert_array_equal(mask.data, readers.data.mean(axis=3) >= 0.5)
        np.testing.assert_allclose(read_nifti(small_dataset / row.soft_mask).data, readers.data.mean(axis=3), atol=1e-6)
        center = [row.center_x_ras, row.center_y_ras, row.center_z_ras]
        np.testing.assert_allclose(mask.to_world(np.argwhere(mask.data).mean(axis=0)), center, atol=1e-3)
        assert row.volume_mm3 == pytest.approx(mask.data.sum() * np.prod(mask.spacing), abs=0.01)
        start = np.rint(whole.to_index(ct.to_world(np.zeros(3)))).astype(int)
        part = tuple(slice(a, a + n) for a, n in zip(start, ct.shape, strict=True))
        np.testing.assert_array_equal(whole.data[part], ct.data)
        np.testing.assert_array_equal(labels.data[part] == row.label, mask.data > 0)


def test_a_voi_covers_its_cube_where_the_scan_reaches(small_dataset: Path) -> None:
    whole = read_nifti(small_dataset / "scans" / f"{SMALL}_s0_ct.nii.gz")
    for row in read_nodules(small_dataset).itertuples():
        voi = read_nifti(small_dataset / row.ct)
        center = np.array([row.center_x_ras, row.center_y_ras, row.center_z_ras])
        for side in (-1, 1):
            for axis in range(3):
                step = np.zeros(3)
                step[axis] = side * 39.9
                inside_scan = whole.to_index(center) + step / whole.spacing
                if (inside_scan >= 0).all() and (inside_scan <= np.array(whole.shape) - 1).all():
                    index = voi.to_index(center)[axis] + step[axis] / voi.spacing[axis]
                    assert -1 < index < voi.shape[axis]


def test_a_small_margin_still_holds_the_whole_mask(tmp_path: Path, small_root: Path, small_dataset: Path) -> None:
    convert(small_root, tmp_path, patients=[SMALL], workers=1, settings=ConversionSettings(margin_mm=1.0))
    large, small = read_nodules(small_dataset), read_nodules(tmp_path)
    assert large["volume_mm3"].tolist() == small["volume_mm3"].tolist()
    for row in small.itertuples():
        mask = read_nifti(tmp_path / row.mask)
        assert mask.data.sum() == read_nifti(small_dataset / row.mask).data.sum()
        assert max(mask.shape[:2]) < 60


@pytest.mark.parametrize(
    ("policy", "least"),
    [pytest.param("majority", 0.5001, marks=pytest.mark.slow), ("2/3", 0.6666), (1, 1)],
)
def test_consensus_policies(
    tmp_path: Path, small_root: Path, small_dataset: Path, policy: float | str, least: float
) -> None:
    convert(
        small_root, tmp_path, patients=[SMALL], workers=1, settings=ConversionSettings(consensus=policy, margin_mm=5)
    )
    assert json.loads((tmp_path / "dataset.json").read_text())["settings"]["consensus"] == policy
    usual = read_nodules(small_dataset)
    for row in read_nodules(tmp_path).itertuples():
        mask, readers = read_nifti(tmp_path / row.mask).data, read_nifti(tmp_path / row.reader_masks).data
        np.testing.assert_array_equal(mask, readers.mean(axis=3) >= least)
        assert row.volume_mm3 <= usual.loc[row.nodule_id, "volume_mm3"]


def test_a_second_run_redoes_nothing_and_changes_nothing(small_root: Path, small_dataset: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in small_dataset.glob("*/*")}
    manifest = (small_dataset / "MANIFEST.sha256").read_bytes()
    convert(small_root, small_dataset, patients=None, workers=2, settings=ConversionSettings())
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in small_dataset.glob("*/*")} == before
    assert (small_dataset / "MANIFEST.sha256").read_bytes() == manifest


def test_an_unfinished_scan_is_redone_with_the_same_bytes(
    tmp_path: Path, small_root: Path, small_dataset: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(small_dataset, out)
    voi = next((out / "voi").glob("*_ct.nii.gz"))
    voi.write_bytes(voi.read_bytes()[:100])
    (out / "MANIFEST.sha256").unlink()
    leftover = out / "voi" / f".{voi.name.removesuffix('.nii.gz')}.0123456789ab.nii.gz"
    leftover.write_bytes(b"half")
    convert(small_root, out, patients=None, workers=1, settings=ConversionSettings())
    assert digests(out) == digests(small_dataset)
    assert not leftover.exists()
    assert hashlib.sha256(voi.read_bytes()).hexdigest() == digests(out)[f"voi/{voi.name}"]


def test_other_settings_need_another_folder(small_root: Path, small_dataset: Path) -> None:
    with pytest.raises(InputError, match=r"other settings \(consensus 0\.5 -> 1\.0\): use another --out"):
        convert(small_root, small_dataset, patients=None, workers=1, settings=ConversionSettings(consensus=1.0))


def linked(folder: Path, target: Path, *, without: set[str] = frozenset()) -> None:
    """The files of a folder as links in another one."""
    target.mkdir(parents=True)
    for path in folder.iterdir():
        if path.name not in without:
            (target / path.name).symlink_to(path)


def test_another_series_in_a_patients_folder_is_named(
    tmp_path: Path, small_root: Path, small_scan: ScanRecord, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside the patient's own it is left out with a warning; in its place it is named in the refusal."""
    other = database.scans([SEVERAL[1]])[0]
    foreign = write_scan(tmp_path / "other", other)
    linked(foreign, tmp_path / "both" / "foreign")
    linked(next(small_root.glob("*/*/*")), tmp_path / "both" / "own")
    named = rf"{other.series_uid} of {other.patient_id} \({len(list(foreign.iterdir()))} files\)"
    found = series_of(small_scan, Sources(folders=(tmp_path / "both",)))
    assert found.series_uid == small_scan.series_uid
    assert re.search(f"{small_scan.name}: its folders hold other CT series, which are left out: {named}", caplog.text)
    with pytest.raises(InputError, match=f"no file of its CT series .*; its folders hold {named}: download"):
        series_of(small_scan, Sources(folders=(tmp_path / "both" / "foreign",)))


@pytest.mark.usefixtures("forked_workers")
def test_untrustworthy_scans_are_skipped_and_the_others_converted(
    tmp_path: Path, small_root: Path, small_scan: ScanRecord
) -> None:
    """One scan whole, one with two slices missing, one patient without any DICOM in the folder."""
    other = database.scans([SEVERAL[1]])[0]
    files = write_scan(tmp_path / "whole", other)
    linked(files, tmp_path / "root" / other.patient_id / "s", without={"000010.dcm", "000100.dcm"})
    linked(next(small_root.glob("*/*/*")), tmp_path / "root" / SMALL / "s")
    (tmp_path / "root" / "LIDC-IDRI-0254").mkdir()
    (tmp_path / "root" / "LIDC-IDRI-0254" / "078.xml").write_text("<xml/>")
    refused = convert(tmp_path / "root", tmp_path / "out", patients=None, workers=2, settings=ConversionSettings())
    skipped = pd.read_csv(tmp_path / "out" / "skipped.csv").set_index("patient_id")
    assert [item.scan.patient_id for item in refused] == skipped.index.tolist() == [SEVERAL[1], "LIDC-IDRI-0254"]
    gone = other.slice_positions[[9, 99]]
    assert f"missing slices at z = {gone[0]:g}, {gone[1]:g} mm" in skipped.loc[SEVERAL[1], "reason"]
    assert "no file of its CT series" in skipped.loc["LIDC-IDRI-0254", "reason"]
    assert set(read_nodules(tmp_path / "out")["patient_id"]) == {SMALL}
    assert not list((tmp_path / "out").rglob(f"*{SEVERAL[1]}*"))


def test_no_scan_at_all_writes_no_dataset(tmp_path: Path, small_root: Path) -> None:
    linked(next(small_root.glob("*/*/*")), tmp_path / "root" / SMALL / "s", without={"000010.dcm"})
    with pytest.raises(InputError, match=r"none of the 1 scans could be converted.*skipped\.csv"):
        convert(tmp_path / "root", tmp_path / "out", patients=[SMALL], workers=1, settings=ConversionSettings())
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == ["skipped.csv"]


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [(-1, 0, 0, 0, -1, 0), (-1, 0, 0, 0, 1, 0)])
def test_flipped_scans(
    tmp_path: Path, small_scan: ScanRecord, small_dataset: Path, orientation: tuple[int, ...]
) -> None:
    """Contours are pixel indices: a flipped scan has the same masks on its own grid, elsewhere in the world."""
    folder = write_scan(tmp_path / "root", small_scan, orientation=orientation)
    convert(tmp_path / "root", tmp_path / "out", patients=None, workers=1, settings=ConversionSettings(margin_mm=5.0))
    check_against_dicom(tmp_path / "out", folder)
    name = f"{SMALL}_s0_nodules.nii.gz"
    plain, flipped = (read_nifti(dataset / "scans" / name) for dataset in (small_dataset, tmp_path / "out"))
    upside_down = np.cross(orientation[:3], orientation[3:])[2] < 0
    np.testing.assert_array_equal(plain.data, flipped.data[:, :, ::-1] if upside_down else flipped.data)
    shift = flipped.to_world(np.argwhere(flipped.data == 1).mean(axis=0)) - plain.to_world(
        np.argwhere(plain.data == 1).mean(axis=0)
    )
    assert abs(shift[0]) > 1
    assert shift[2] == pytest.approx(0, abs=1e-6)
