"""Every hard case: handled, with voxels and contours in their true positions, or refused with the reason."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lung_nodule.errors import InputError
from lung_nodule.holdout import holdout_patients
from lung_nodule.io import DUPLICATE_RULES, Series, Volume, read_nifti
from lung_nodule.io.dicom.slice_grid import slice_grid
from preprocessing.__main__ import main
from preprocessing.convert import convert
from preprocessing.dataset import ConversionSettings
from preprocessing.dataset.flags import PLACE_FLAGS, SCAN_FLAGS
from preprocessing.lidc import database
from preprocessing.lidc.masks import reader_mask
from preprocessing.lidc.nodule_volume import NoduleVolume, build_nodule, label_map
from preprocessing.lidc.records import AnnotationRecord, ContourRecord, NoduleRecord, ScanRecord
from preprocessing.phantom import HARD_CASES, write_phantom
from preprocessing.phantom.drawing import Drawing
from preprocessing.phantom.series import is_written, write_series
from preprocessing.phantom.write import plan
from tests.preprocessing.lidc.test_masks import rectangle
from tests.slow import slow_except

SETTINGS = ConversionSettings(margin_mm=5)
STEP_HU = 2  # per mm of z
REFUSED = {
    "differing_duplicates": "different slices at one position, at ",
    "missing_slice": "missing slices at z = ",
    "no_rescale": ".dcm lacks the attribute RescaleIntercept",
    "truncated": "cannot read the pixels of ",
}
PADDED = {"padding"}  # every phantom series has a stored -2000 outside of the circle that a scanner reconstructs
FLAGS = {
    "flip": PADDED | {"flipped"},
    "non_uniform_z": PADDED | {"non_uniform_z"},
    "z_gap": PADDED | {"non_uniform_z", "unmeasured_gap", "no_nodules"},
    "two_scans": PADDED | {"two_scans"},
    "many_readers": PADDED | {"more_than_four_annotations"},
    "no_nodules": PADDED | {"no_nodules"},
    "off_scale": PADDED | {"rating_off_scale"},
    "duplicate_slices": PADDED | {"duplicate_z"},
    "odd_numbers": PADDED | {"odd_numbers"},
    "compressed": PADDED | {"compressed"},
}
REMARKS = {
    "duplicate_slices": r"duplicate_z: one of each kept of the equal slices at (-?[\d.]+, ){2}-?[\d.]+ mm; padding: .*",
    "odd_numbers": r"padding: \d+ pixels of 101 slices set to -1024 HU; "
    r"odd_numbers: PixelSpacing such as 00\d\.\d{6}e[+-]\d\d in 101 files",
    "compressed": r"padding: .*; compressed: RLE Lossless in 33 of 99 files",
}


def pattern() -> np.ndarray:
    """[row, column], encoding the position of a pixel; the same pixel over and over far from those that are checked."""
    rows, columns = np.indices((512, 512)).clip([[[150]], [[190]]], [[[350]], [[250]]])
    return (rows * 3 + columns * 7) % 500


def cheap_drawing(scan: ScanRecord, *, turned: bool) -> Drawing:
    """Voxels that are linear in the true z, instead of a chest."""
    rise = np.rint(STEP_HU * (scan.slice_positions - scan.slice_positions[0])).astype(np.int16)
    hu = rise[:, None, None] + pattern().astype(np.int16)
    if turned:
        return Drawing(hu=hu, corner_mm=(150.0, 160.0), orientation=(-1, 0, 0, 0, -1, 0))
    return Drawing(hu=hu, corner_mm=(-150.0, -160.0))


@pytest.fixture(scope="module")
def dicom_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a hard case's name to a folder with its scans, with cheap voxels; each is written once."""

    @functools.cache
    def write(name: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        for scan, case in plan([], [name]):
            write_series(root, scan, cheap_drawing(scan, turned=case.turned), case)
            assert is_written(root, scan, case)
        return root

    return write


def converted(dicom: Path, out: Path, settings: ConversionSettings = SETTINGS) -> Path:
    convert(dicom, out, patients=None, workers=1, settings=settings)
    return out


def flags_of(text: object) -> set[str]:
    return set(text.split(";")) if isinstance(text, str) else set()


HANDLED = [name for name, case in HARD_CASES.items() if not case.refused]


@pytest.mark.parametrize("name", slow_except({"z_gap"}, HANDLED))
def test_handled(dicom_of: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    """Every voxel's value belongs to the voxel's own position; masks match the contours; the tables agree."""
    out = converted(dicom_of(name), tmp_path)
    scans = pd.read_csv(out / "scans.csv").set_index("scan")
    nodules = pd.read_csv(out / "nodules.csv").set_index("nodule_id")
    assert len(pd.read_csv(out / "skipped.csv")) == 0
    wanted = plan([], [name])
    assert scans.index.tolist() == [scan.name for scan, _ in wanted]
    for scan, _ in wanted:
        row = scans.loc[scan.name]
        assert flags_of(row["flags"]) == FLAGS[name]
        assert re.fullmatch(REMARKS.get(name, ".*padding: .*"), row["remarks"])
        check_voxels(read_nifti(out / row["ct"]), scan)
        records = database.nodules(scan)
        assert row["nodules"] == len(records)
        for record in records:
            assert nodules.loc[record.nodule_id, "readers"] == len(record.annotations)
            assert flags_of(nodules.loc[record.nodule_id, "flags"]) >= FLAGS[name] & set(PLACE_FLAGS)
            check_masks(read_nifti(out / nodules.loc[record.nodule_id, "reader_masks"]), record, scan)
    for flag in FLAGS[name] & {"more_than_four_annotations", "rating_off_scale"}:
        assert sum(flag in flags_of(text) for text in nodules["flags"]) == 1, "of the one nodule that has it"


def check_voxels(ct: Volume, scan: ScanRecord) -> None:
    """The affine matches the database, and the values match the affine."""
    z = ct.to_world(np.c_[np.zeros((ct.shape[2], 2)), np.arange(ct.shape[2])])[:, 2]
    assert z[0] == pytest.approx(scan.slice_positions[0], abs=ct.spacing[2])
    assert z[-1] == pytest.approx(scan.slice_positions[-1], abs=ct.spacing[2])
    away = np.abs(z[:, None] - scan.slice_positions).min(axis=1)
    measured = away < 0.75 * ct.spacing[2]
    assert measured.sum() >= len(scan.slice_positions) - 2
    expected = STEP_HU * (z - scan.slice_positions[0]) + pattern()[200:300, 220, None]
    assert np.abs(ct.data[220, 200:300] - expected)[:, measured].max() <= 1.01
    assert (ct.data[220, 200:300][:, ~measured] == -1024).all()


def check_masks(readers: Volume, record: NoduleRecord, scan: ScanRecord) -> None:
    """Each reader's pixels in the world are those that the contours enclose at the contours' own z."""
    for number, annotation in enumerate(record.annotations):
        drawn = drawn_pixels(annotation)
        points = readers.to_world(np.argwhere(readers.data[..., number]))
        if not len(drawn) or not len(points):
            assert len(drawn) == len(points)
            continue
        assert len(points) == pytest.approx(len(drawn), rel=0.02)
        assert points[:, 2].mean() == pytest.approx(drawn[:, 2].mean(), abs=0.02 * readers.spacing[2])


def drawn_pixels(annotation: AnnotationRecord) -> np.ndarray:
    """(column, row, z in mm) [n, 3] of the pixels that a reader enclosed."""
    positions = sorted({contour.z for contour in annotation.contours})
    box = (slice(0, 512), slice(0, 512), slice(0, len(positions)))
    where = np.argwhere(reader_mask(annotation, box, positions.index)).astype(float)
    where[:, 2] = np.array(positions)[where[:, 2].astype(int)]
    return where


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(dicom_of: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="none of the 1 scans could be converted"):
        converted(dicom_of(name), tmp_path)
    (row,) = pd.read_csv(tmp_path / "skipped.csv").itertuples()
    ((scan, _),) = plan([], [name])
    assert row.scan == scan.name
    assert REFUSED[name] in row.reason
    count, z = len(scan.slice_positions), scan.slice_positions
    named = {
        "differing_duplicates": [f"{z[count // 2]:g} mm"],
        "missing_slice": [f"{z[k]:g}" for k in (0, count // 3, count // 2)],
        "no_rescale": ["export it again"],
        "truncated": ["000040.dcm"],
    }
    for text in named[name]:
        assert text in row.reason


def test_the_cases_show_every_flag_of_a_scan() -> None:
    assert set(FLAGS) == {name for name, case in HARD_CASES.items() if not case.refused}
    assert set(REFUSED) == {name for name, case in HARD_CASES.items() if case.refused}
    assert set.union(*FLAGS.values()) | {"differing_duplicates", "extra_slices", "blank_slices"} == set(SCAN_FLAGS)


@pytest.mark.parametrize(("rule", "source", "number"), [("first", 0, "lowest"), ("last", 4, "highest")])
def test_different_slices_at_one_position_can_be_chosen_from(
    dicom_of: Callable[[str], Path], tmp_path: Path, rule: str, source: int, number: str
) -> None:
    """The case's additional file, its last, has the middle slice's position and the pixels of the fourth above."""
    ((scan, _),) = plan([], ["differing_duplicates"])
    out = converted(dicom_of("differing_duplicates"), tmp_path, ConversionSettings(margin_mm=5, duplicates=rule))
    ((row),) = pd.read_csv(out / "scans.csv").itertuples()
    middle, z = len(scan.slice_positions) // 2, scan.slice_positions
    assert flags_of(row.flags) == PADDED | {"differing_duplicates"}
    kept = f"differing_duplicates: of different slices the one of {number} InstanceNumber kept at {z[middle]:g} mm"
    assert kept in row.remarks
    ct = read_nifti(out / row.ct).data[220, 200:300]
    np.testing.assert_array_equal(ct[:, middle] - ct[:, 0], round(STEP_HU * (z[middle + source] - z[0])))
    for text in pd.read_csv(out / "nodules.csv")["flags"]:
        assert "differing_duplicates" in flags_of(text)
    assert json.loads((out / "dataset.json").read_text())["settings"]["duplicates"] == rule


def test_a_rule_for_duplicates_joins_a_dataset_but_does_not_change_what_it_chose(
    dicom_of: Callable[[str], Path], tmp_path: Path, small_root: Path
) -> None:
    """After a refusal the scan can be added with a rule; only scans that the rule affects are bound to it."""
    usual, first, last = (ConversionSettings(margin_mm=5, duplicates=rule) for rule in DUPLICATE_RULES)
    out = converted(small_root, tmp_path, usual)
    convert(dicom_of("differing_duplicates"), out, patients=None, workers=1, settings=first)
    assert len(pd.read_csv(out / "scans.csv")) == 2
    for settings in (usual, last):
        line = f"LIDC-IDRI-0351_s0 in .* was made with --duplicates first, not {settings.duplicates}: give the same"
        with pytest.raises(InputError, match=line):
            convert(small_root, out, patients=None, workers=1, settings=settings)
    assert convert(small_root, out, patients=None, workers=1, settings=first) == []


def test_cases_are_outside_the_hold_out_and_distinct() -> None:
    patients = [case.patient for case in HARD_CASES.values()]
    assert len(set(patients)) == len(patients)
    assert not set(patients) & holdout_patients()
    assert {scan.patient_id for scan, _ in plan([], ["all"])} == set(patients)
    assert {case.name for _, case in plan(None, ["flip"])} == {"plain", "flip"}
    with pytest.raises(InputError, match="no hard case named upside_down: there are flip,"):
        plan(None, ["flip", "upside_down"])


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--patients", "none"], "no patient named"),
        (["--hard", "upside_down"], "no hard case named upside_down: there are flip, non_uniform_z"),
        (["--patients", "default31"], "--patients holds a value that is not a patient's name, 'default31'"),
        (["--hard"], "--hard takes names"),
    ],
)
def test_the_command_line_refuses_what_it_does_not_know(
    flags: list[str], line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["phantom", "--out", str(tmp_path / "out"), *flags]) == 2
    assert line in caplog.text
    assert not (tmp_path / "out").exists()


def test_the_command_line_s_help_names_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", "--help"]) == 0
    shown = " ".join("".join(capsys.readouterr()).split())
    assert all(name in shown for name in HARD_CASES)


def test_a_case_is_written_over_the_plain_series_of_its_patient(tmp_path: Path) -> None:
    ((scan, case),) = plan([], ["odd_numbers"])
    thin = replace(scan, slice_positions=scan.slice_positions[:5])
    write_series(tmp_path, thin, cheap_drawing(thin, turned=False))
    assert is_written(tmp_path, thin)
    assert not is_written(tmp_path, thin, case)
    write_series(tmp_path, thin, cheap_drawing(thin, turned=False), case)
    assert is_written(tmp_path, thin, case)
    assert not is_written(tmp_path, thin)
    assert b"00" + b"%.6e" % thin.pixel_spacing_mm in next(tmp_path.rglob("*.dcm")).read_bytes()


def series_at(positions: np.ndarray, scan: ScanRecord) -> Series:
    """A series of the database's geometry with slices at other positions, without voxels."""
    grid = slice_grid(positions, complete=True)
    affine = np.diag([-scan.pixel_spacing_mm, -scan.pixel_spacing_mm, grid.spacing, 1.0])
    affine[2, 3] = grid.positions[0]
    empty = np.broadcast_to(np.int16(0), (512, 512, len(grid.positions)))
    return Series(
        volume=Volume(empty, affine),
        patient_id=scan.patient_id,
        study_uid=scan.study_uid,
        series_uid=scan.series_uid,
        manufacturer="",
        slice_positions=positions,
        grid=grid,
        duplicates=(),
        slice_thickness_mm=scan.slice_thickness_mm,
    )


def built(nodule: NoduleRecord, series: Series) -> NoduleVolume:
    return build_nodule(nodule, series, level=0.5)


@pytest.mark.parametrize("patient", ["LIDC-IDRI-0123", "LIDC-IDRI-0267", "LIDC-IDRI-0672"])
def test_nodules_of_the_real_uneven_scans_keep_every_pixel(patient: str) -> None:
    (scan,) = database.scans([patient])
    series = series_at(scan.slice_positions, scan)
    for nodule in database.nodules(scan):
        volume = built(nodule, series)
        for number, annotation in enumerate(nodule.annotations):
            drawn, placed = drawn_pixels(annotation), np.argwhere(volume.readers[..., number])
            z = series.volume.to_world(placed + [part.start for part in volume.box])[:, 2]
            assert len(placed) == len(drawn)
            assert z.mean() == pytest.approx(drawn[:, 2].mean(), abs=0.51 * series.grid.spacing)


@pytest.mark.parametrize("change_mm", [-2.0, -1.3, 1.25, 2.5])
def test_an_uneven_gap_inside_a_nodule(change_mm: float) -> None:
    """Everything above the middle of a large nodule is moved: its volume changes by the gap, its position is true."""
    (scan,) = database.scans(["LIDC-IDRI-0188"])
    nodule = max(database.nodules(scan), key=lambda each: np.ptp([c.z for a in each.annotations for c in a.contours]))
    levels = sorted({contour.z for annotation in nodule.annotations for contour in annotation.contours})
    cut = levels[len(levels) // 2]

    def moved(z: float) -> float:
        return z + change_mm * (z >= cut)

    annotations = tuple(
        replace(each, contours=tuple(replace(contour, z=moved(contour.z)) for contour in each.contours))
        for each in nodule.annotations
    )
    positions = np.array([moved(z) for z in scan.slice_positions])
    series = series_at(positions, scan)
    volume = built(replace(nodule, annotations=annotations), series)
    for number, annotation in enumerate(annotations):
        drawn = drawn_pixels(annotation)
        z, areas = np.unique(drawn[:, 2], return_counts=True)
        expected = float(np.interp(np.arange(z[0], z[-1], 0.1), z, areas).sum() * 0.1)
        spacing = series.grid.spacing
        ends = 0.5 * spacing * (areas[0] + areas[-1])
        measured = volume.readers[..., number].sum() * spacing
        assert measured == pytest.approx(expected + ends, rel=0.2)
        lowest, highest = (volume.box[2].start, volume.box[2].stop - 1)
        grid_z = series.z_positions
        assert grid_z[lowest] == pytest.approx(min(levels), abs=0.51 * spacing)
        assert grid_z[highest] == pytest.approx(moved(max(levels)), abs=0.51 * spacing)


def test_a_mark_on_a_slice_between_grid_positions_is_not_lost() -> None:
    (scan,) = database.scans(["LIDC-IDRI-0123"])
    series = series_at(scan.slice_positions, scan)
    between = int(series.grid.unused[0])
    square = rectangle((10, 20), (10, 20))
    contour = ContourRecord(z=float(scan.slice_positions[between]), inclusion=True, points=square)
    annotation = AnnotationRecord(
        annotation_id=1, ratings={}, contours=(contour,), diameter_mm=1.0, contour_volume_mm3=1.0
    )
    volume = built(NoduleRecord("n", scan.patient_id, (annotation,)), series)
    assert volume.mask.sum() == 81
    assert series.z_positions[volume.box[2].start] == pytest.approx(contour.z, abs=series.grid.spacing)


def test_nothing_is_marked_inside_an_unmeasured_gap() -> None:
    (scan,) = database.scans(["LIDC-IDRI-0514"])
    series = series_at(scan.slice_positions, scan)
    square = rectangle((10, 20), (10, 20))
    contours = tuple(ContourRecord(z=float(z), inclusion=True, points=square) for z in scan.slice_positions[:3])
    annotation = AnnotationRecord(
        annotation_id=1, ratings={}, contours=contours, diameter_mm=1.0, contour_volume_mm3=1.0
    )
    volume = built(NoduleRecord("n", scan.patient_id, (annotation,)), series)
    marked = volume.mask.any(axis=(0, 1))
    assert volume.mask.sum() == 3 * 81
    assert marked.tolist() == [True, *18 * [False], True, True]


def test_neighbours_do_not_leak(small_scan: ScanRecord) -> None:
    """Two nodules side by side on the same slices: each one's masks and label hold its own pixels alone."""
    series = series_at(small_scan.slice_positions, small_scan)
    z = float(small_scan.slice_positions[30])

    def nodule(first_column: int, name: str) -> NoduleRecord:
        square = rectangle((first_column, first_column + 10), (40, 50))
        contour = ContourRecord(z=z, inclusion=True, points=square)
        reader = AnnotationRecord(
            annotation_id=1, ratings={}, contours=(contour,), diameter_mm=1.0, contour_volume_mm3=1.0
        )
        return NoduleRecord(name, small_scan.patient_id, (reader, reader))

    left, right = built(nodule(100, "left"), series), built(nodule(109, "right"), series)
    voi = left.voi_box(series.volume, 40.0)
    assert left.place(left.mask, voi).sum() == 81
    assert left.place(left.readers, voi).sum() == 2 * 81
    assert left.place(left.soft, voi).sum() == 81
    labels = label_map([left, right], series.volume.shape)
    assert np.unique(np.argwhere(labels == 1)[:, 0]).tolist() == list(range(101, 110))
    assert np.unique(np.argwhere(labels == 2)[:, 0]).tolist() == list(range(110, 119))


@pytest.mark.long
@pytest.mark.parametrize(("patients", "hard"), [([], ["all"]), (None, [])], ids=["every hard case", "the default ten"])
def test_the_drawn_phantom_goes_through(tmp_path: Path, patients: list[str] | None, hard: list[str]) -> None:
    """Drawn chests: the scans that must be refused are, and solid nodules are dense where the masks say so."""
    write_phantom(out=tmp_path / "dicom", patients=patients, hard=hard, workers=2)
    refused = convert(tmp_path / "dicom", tmp_path / "out", patients=None, workers=2, settings=ConversionSettings())
    expected = {case.patient for _, case in plan(patients, hard) if case.refused}
    assert {item.scan.patient_id for item in refused} == expected
    for row in pd.read_csv(tmp_path / "out" / "nodules.csv").itertuples():
        ct, mask = (read_nifti(tmp_path / "out" / name) for name in (row.ct, row.mask))
        if row.texture_mean >= 4 and row.readers >= 3 and row.internal_structure_mean == 1:
            assert np.median(ct.data[mask.data > 0]) > -450, row.nodule_id
