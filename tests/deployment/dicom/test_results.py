"""The DICOM segmentation and structured report of hand-made answers for a DICOM series, without a server."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.config import disable_value_validation
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from lung_nodule.deployment.dicom.results import REPORT, SEGMENTATION, write_dicom_results
from lung_nodule.deployment.dicom.segmentation import tracking_uid
from lung_nodule.deployment.findings import Finding
from lung_nodule.deployment.nodules.sources import read_nodule_source
from lung_nodule.deployment.prediction import predict
from lung_nodule.deployment.prediction.case import Case, PredictionOptions
from lung_nodule.io import CENTER, ScanMasks, Series, mask_path, read_nifti, read_table
from tests.deployment.hand_made import ANSWER, FRAME, SERVED, found_in, series_in
from tests.io.dicom_series import SeriesPlan, write_series
from tests.user_ct import CENTERS, SHAPE, write_centers, write_ct, write_dicom


@pytest.fixture
def series(tmp_path: Path) -> Series:
    return series_in(write_dicom(tmp_path / "ct", extra=FRAME))


def restored(segmentation: highdicom.seg.Segmentation, nodule_id: str, series: Series) -> np.ndarray:
    """A segment's voxels in the volume of the series, placed by the segmentation's own geometry."""
    (number,) = segmentation.get_segment_numbers(tracking_id=nodule_id)
    volume = segmentation.get_volume(segment_numbers=[number], combine_segments=True)
    lps = np.argwhere(volume.array) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    at = series.volume.to_index(lps * (-1, -1, 1))
    np.testing.assert_allclose(at, np.rint(at), atol=1e-4)
    mask = np.zeros(series.volume.shape, dtype=bool)
    mask[tuple(np.rint(at).astype(int).T)] = True
    return mask


def written_masks(out: Path, findings: Sequence[Finding], series: Series) -> dict[str, np.ndarray]:
    """What predict writes as NIfTI, by nodule."""
    masks = ScanMasks(out, series.volume.grid)
    for finding in findings:
        assert finding.mask is not None
        masks.add(finding.nodule_id, finding.label, finding.mask, finding.voi.box)
    return {f.nodule_id: read_nifti(out / mask_path(f.nodule_id)).data.astype(bool) for f in findings}


SERIES: Mapping[str, dict[str, object]] = {
    "axial": {},
    "columns to the right": {"orientation": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)},
    "rows to the front": {"orientation": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)},
}


@pytest.mark.parametrize("shuffled", [False, True], ids=["in order", "shuffled"])
@pytest.mark.parametrize("options", SERIES.values(), ids=SERIES)
@pytest.mark.parametrize("between_mm", [24.0, 6.0], ids=["apart", "overlapping"])
def test_a_segment_is_the_mask(options: dict[str, object], shuffled: bool, between_mm: float, tmp_path: Path) -> None:
    """Wherever the columns and rows run, whatever the files are called, and where two nodules overlap."""
    folder = write_dicom(tmp_path / "ct", **{**options, "extra": FRAME})
    if shuffled:
        rename_at_random(folder)
    series = series_in(folder)
    middle = series.volume.to_world((np.array(series.volume.shape) - 1) / 2)
    centers = [middle, middle + np.array([between_mm, 1.0, 3.0])]
    findings = found_in(series, centers=centers)
    write_dicom_results(tmp_path / "out", findings, series, SERVED)
    segmentation = highdicom.seg.segread(tmp_path / "out" / SEGMENTATION)
    masks = written_masks(tmp_path / "out", findings, series)
    assert np.logical_and(*masks.values()).any() == (between_mm < 14)
    for nodule_id, mask in masks.items():
        np.testing.assert_array_equal(restored(segmentation, nodule_id, series), mask)
        assert mask.sum() > 500


def rename_at_random(folder: Path) -> None:
    paths = sorted(folder.iterdir())
    for path in paths:
        path.rename(path.with_suffix(".moved"))
    for number, path in zip(np.random.default_rng(0).permutation(len(paths)), paths, strict=True):
        path.with_suffix(".moved").rename(paths[number])


def test_only_slices_with_a_mask_are_sources(series: Series, tmp_path: Path) -> None:
    findings = found_in(series)
    write_dicom_results(tmp_path, findings, series, SERVED)
    segmentation = highdicom.seg.segread(tmp_path / SEGMENTATION)
    masks = written_masks(tmp_path, findings, series)
    held = np.flatnonzero(np.any([mask.any(axis=(0, 1)) for mask in masks.values()], axis=0))
    expected = {pydicom.dcmread(series.paths[number]).SOPInstanceUID for number in held}
    assert 0 < len(expected) < SHAPE[2]
    assert {uid for _, _, uid in segmentation.get_source_image_uids()} == expected
    assert segmentation.NumberOfFrames == sum(mask.any(axis=(0, 1)).sum() for mask in masks.values())


def test_a_slice_between_the_planes_takes_the_nearest_plane(tmp_path: Path) -> None:
    """One slice more than the uniform grid has: no plane of the volume is its own."""
    z = [*range(110, 150, 2), 131.4]
    corners = [(0.0, 0.0, float(value)) for value in z]
    pixels = np.random.default_rng(0).integers(0, 200, (64, 72)).astype(np.int16)
    write_series(tmp_path / "ct", SeriesPlan(corners, lambda _: pixels, pixel_spacing=(0.9, 0.8), extra=FRAME))
    series = series_in(tmp_path / "ct")
    assert series.volume.shape[2] == len(z) - 1
    findings = found_in(series, centers=[(-30.0, -30.0, 131.0)])
    write_dicom_results(tmp_path, findings, series, SERVED)
    segmentation = highdicom.seg.segread(tmp_path / SEGMENTATION)
    mask = written_masks(tmp_path, findings, series)["nodule_0"]
    held = {uid for _, _, uid in segmentation.get_source_image_uids()}
    for number, at in enumerate(z, start=1):
        uid = pydicom.dcmread(tmp_path / "ct" / f"{number:06d}.dcm").SOPInstanceUID
        plane = mask[:, :, z.index(132 if at == 131.4 else at)].T
        assert (uid in held) == plane.any()
        if uid in held:
            np.testing.assert_array_equal(segmentation.get_pixels_by_source_instance([uid])[0, :, :, 0], plane)
    assert len(held) == 1 + mask.any(axis=(0, 1)).sum()


def test_the_segments_are_coded_and_tracked(series: Series, tmp_path: Path) -> None:
    for out in ("first", "second"):
        write_dicom_results(tmp_path / out, found_in(series), series, SERVED)
    read = [highdicom.seg.segread(tmp_path / out / SEGMENTATION) for out in ("first", "second")]
    assert read[0].SOPInstanceUID != read[1].SOPInstanceUID
    report = highdicom.sr.srread(tmp_path / "first" / REPORT)
    groups = report.content.get_volumetric_roi_measurement_groups()
    for number in (1, 2):
        segment = read[0].get_segment_description(number)
        assert (segment.segment_label, segment.tracking_id) == (f"nodule_{number - 1}",) * 2
        assert segment.tracking_uid == read[1].get_segment_description(number).tracking_uid
        assert segment.segmented_property_type == codes.SCT.Nodule
        assert segment.segmented_property_category == codes.SCT.MorphologicallyAbnormalStructure
        assert segment.anatomic_regions[0] == codes.SCT.Lung
        algorithm = segment.algorithm_identification
        assert (algorithm.name, algorithm.version) == ("nodule_panel", "0.1.0")
        group = groups[number - 1]
        assert (group.tracking_identifier, group.tracking_uid) == (segment.tracking_id, segment.tracking_uid)
        referred = group.referenced_segment
        assert referred.referenced_sop_instance_uid == read[0].SOPInstanceUID
        assert list(referred.referenced_segment_numbers) == [number]


def numbers_of(group: object) -> dict[tuple[str, str | None, str | None], tuple[float, str]]:
    """Value and unit by code of the concept, of the method and of the derivation."""
    return {
        (
            measured.name.value,
            None if measured.method is None else measured.method.value,
            None if measured.derivation is None else measured.derivation.value,
        ): (measured.value, measured.unit.value)
        for measured in group.get_measurements()  # pyright: ignore
    }


def test_the_report_holds_what_was_measured(series: Series, tmp_path: Path) -> None:
    findings = found_in(series)
    write_dicom_results(tmp_path, findings, series, SERVED)
    report = highdicom.sr.srread(tmp_path / REPORT)
    assert isinstance(report, highdicom.sr.Comprehensive3DSR)
    assert report.PatientID == "SYNTHETIC"
    assert [item.CodingSchemeDesignator for item in report.CodingSchemeIdentificationSequence] == ["99LUNGNODULE"]
    voxel_mm3 = float(np.prod(series.volume.spacing))
    groups = report.content.get_volumetric_roi_measurement_groups()
    for finding, group in zip(findings, groups, strict=True):
        size, values = finding.size, numbers_of(group)
        assert size is not None
        assert values["118565006", None, None][0] == pytest.approx(finding.mask.sum() * voxel_mm3, abs=0.01)
        assert values["118565006", None, None][1] == "mm3"
        assert values["103339001", None, None] == (size.axial_diameter_mm, "mm")
        assert values["103340004", None, None] == (size.axial_short_axis_mm, "mm")
        mean = (size.axial_diameter_mm + size.axial_short_axis_mm) / 2
        assert values["81827009", None, codes.SCT.Mean.value] == (pytest.approx(mean), "mm")
        for method, triple in {
            "NODULE_PANEL": (0.625, 0.25, 0.875),
            "MTNET": (0.875, 0.75, 0.9375),
            "MTCNN": (0.375, 0.3125, 0.5),
        }.items():
            kinds = (None, codes.SCT.Minimum.value, codes.SCT.Maximum.value)
            assert tuple(values["111047", method, kind] for kind in kinds) == tuple(
                (100 * value, "%") for value in triple
            )
        assert values["INTERNAL", None, None] == (1.5, "1")
        assert values["CALCIFICATION", None, None] == (5.75, "1")
        assert values["P_CALCIFICATION", None, None] == (12.5, "%")
        assert len(values) == 4 + 9 + 3 + 1


def test_a_model_without_masks_gets_a_report_alone(series: Series, tmp_path: Path) -> None:
    """Each group then refers to the slice at the nodule's centre."""
    write_dicom_results(tmp_path, found_in(series, radius_mm=None), series, SERVED)
    assert not (tmp_path / SEGMENTATION).exists()
    report = highdicom.sr.srread(tmp_path / REPORT)
    groups = report.content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["nodule_0", "nodule_1"]
    uids = {pydicom.dcmread(path).SOPInstanceUID: series.slice_positions[n] for n, path in enumerate(series.paths)}
    for group, center in zip(groups, CENTERS, strict=True):
        assert numbers_of(group)["111047", "NODULE_PANEL", None] == (62.5, "%")
        (source,) = group.source_images
        assert source.referenced_sop_class_uid == CTImageStorage
        assert abs(uids[source.referenced_sop_instance_uid] - center[2]) <= 1.0
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert {item.SeriesInstanceUID for item in study.ReferencedSeriesSequence} == {series.series_uid}


def test_an_empty_mask_has_no_segment(series: Series, tmp_path: Path) -> None:
    full, empty = found_in(series)
    empty = Finding(2, empty.center_ras, empty.voi, ANSWER, {"fine": np.zeros(empty.voi.volume.shape, bool)}, {})
    write_dicom_results(tmp_path, [full, empty], series, SERVED)
    assert highdicom.seg.segread(tmp_path / SEGMENTATION).number_of_segments == 1
    content = highdicom.sr.srread(tmp_path / REPORT).content
    assert [group.tracking_identifier for group in content.get_volumetric_roi_measurement_groups()] == ["nodule_0"]
    assert [group.tracking_identifier for group in content.get_image_measurement_groups()] == ["nodule_1"]


def test_what_the_series_lacks_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    series = series_in(write_dicom(tmp_path / "ct"))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        (said,) = write_dicom_results(tmp_path / "out", found_in(series), series, SERVED)
    (record,) = caplog.records
    assert record.name == "lung_nodule.deployment.dicom.results"
    assert "FrameOfReferenceUID" in said
    assert "\n" not in said
    assert said in record.getMessage()
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PatientSex", "X"),
        ("StudyDate", "around 2000"),
        ("PatientBirthDate", "00000000"),
        ("StudyTime", "12:30:05"),
    ],
)
def test_an_attribute_that_is_not_valid_is_left_empty_and_named(
    name: str, value: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its value, which may identify the patient."""
    series = series_in(write_dicom(tmp_path / "ct", extra={**FRAME, name: value}))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        said = write_dicom_results(tmp_path / "out", found_in(series), series, SERVED)
    assert said == [f"{name} of the CT is not valid and is left empty in the DICOM results."]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert value not in caplog.text
    for file in (SEGMENTATION, REPORT):
        assert not pydicom.dcmread(tmp_path / "out" / file)[name].value


def rewrite(folder: Path, change: Callable[[pydicom.Dataset, int], None]) -> None:
    """Change the header of every slice; the second argument counts them from 0."""
    for number, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        with disable_value_validation():
            change(dataset, number)
            dataset.save_as(path)


def _wrong_spacing(dataset: pydicom.Dataset, _: int) -> None:
    dataset.SpacingBetweenSlices = 5.0


def _jittered_positions(dataset: pydicom.Dataset, number: int) -> None:
    dataset.ImagePositionPatient[2] += 0.004 * (-1) ** number


def _rounded_directions(dataset: pydicom.Dataset, _: int) -> None:
    dataset.ImageOrientationPatient = [1, 0.008, 0, -0.004, 1, 0]


def _jittered_directions(dataset: pydicom.Dataset, number: int) -> None:
    dataset.ImageOrientationPatient = [1, 1e-4 * (number % 2), 0, 0, 1, 0]


HEADERS = {
    "as it is": lambda *_: None,
    "wrong spacing": _wrong_spacing,
    "jittered positions": _jittered_positions,
    "rounded directions": _rounded_directions,
    "jittered directions": _jittered_directions,
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_a_segmentation_lies_on_the_grid_of_the_volume(
    change: Callable[[pydicom.Dataset, int], None], tmp_path: Path
) -> None:
    """Whatever the slices' headers say, and where the masks of thin nodules are slices far apart."""
    rewrite(write_dicom(tmp_path / "ct", extra=FRAME), change)
    series = series_in(tmp_path / "ct")
    below = [series.volume.to_world((36, 32, k)) for k in (5, 8, 13)]
    findings = found_in(series, centers=below)
    for finding in findings:  # one slice each, that of the centre
        assert finding.mask is not None
        finding.mask[:, :, np.arange(finding.mask.shape[2]) != round(finding.voi.center[2])] = False
    write_dicom_results(tmp_path / "out", findings, series, SERVED)
    segmentation = highdicom.seg.segread(tmp_path / "out" / SEGMENTATION)
    masks = written_masks(tmp_path / "out", findings, series)
    voxel_mm3 = float(np.prod(series.volume.spacing))
    for (number, mask), spacing in zip(enumerate(masks.values(), start=1), [2.0] * 3, strict=True):
        volume = segmentation.get_volume(segment_numbers=[number], combine_segments=True)
        assert volume.spacing[0] == pytest.approx(spacing, abs=1e-3)
        measured = volume.array.astype(bool).sum() * float(np.prod(volume.spacing))
        assert measured == pytest.approx(mask.sum() * voxel_mm3, rel=1e-3)
    table = read_nodule_source(tmp_path / "out" / SEGMENTATION, series=lambda: series)
    found = np.array([finding.center_ras for finding in findings])
    np.testing.assert_allclose(table[list(CENTER)], found, atol=float(series.volume.spacing.max()))


def test_a_nodule_keeps_its_tracking_uid(series: Series, tmp_path: Path) -> None:
    """From the report or the segmentation, as the source of a second prediction; centres are 32-bit numbers there."""
    findings = found_in(series, centers=[(-20.45, -24.05, 150.25)])
    write_dicom_results(tmp_path, findings, series, SERVED)
    uid = highdicom.seg.segread(tmp_path / SEGMENTATION).get_segment_description(1).tracking_uid
    for file in (SEGMENTATION, REPORT):
        table = read_nodule_source(tmp_path / file, series=lambda: series)
        assert table["tracking_uid"].tolist() == [uid]
    again = [replace(findings[0], center_ras=tuple(np.float32(findings[0].center_ras).tolist()))]
    assert tracking_uid(again[0], series) == uid
    assert tracking_uid(replace(again[0], tracking_uid="1.2.3"), series) == "1.2.3"


@pytest.mark.parametrize("name", ["SliceThickness", "PatientID", "Modality"])
def test_what_may_be_missing_hinders_nothing(name: str, tmp_path: Path) -> None:
    """As in anonymised series. A missing thickness is the distance of the slices."""
    for path in write_dicom(tmp_path / "ct", extra=FRAME).iterdir():
        dataset = pydicom.dcmread(path)
        delattr(dataset, name)
        dataset.save_as(path)
    series = series_in(tmp_path / "ct")
    write_dicom_results(tmp_path, found_in(series), series, SERVED)
    assert pydicom.dcmread(tmp_path / REPORT).PatientID == ("" if name == "PatientID" else "SYNTHETIC")
    shared = highdicom.seg.segread(tmp_path / SEGMENTATION).SharedFunctionalGroupsSequence[0]
    thickness = shared.PixelMeasuresSequence[0].SliceThickness
    assert thickness == (pytest.approx(2.0) if name == "SliceThickness" else 1.5)


def test_an_odd_name_is_taken_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody's name comes into the log; umlauts arrive."""
    odd = {**FRAME, "SpecificCharacterSet": "ISO_IR 100", "PatientName": "M\u00fcller"}
    series = series_in(write_dicom(tmp_path / "ct", extra=odd))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        write_dicom_results(tmp_path, found_in(series), series, SERVED)
    assert caplog.records == []
    for name in (SEGMENTATION, REPORT):
        assert pydicom.dcmread(tmp_path / name).PatientName == "M\u00fcller"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("radius_mm", [7.0, None], ids=["masks", "no masks"])
def test_dciodvfy_finds_no_error(series: Series, radius_mm: float | None, tmp_path: Path) -> None:
    write_dicom_results(tmp_path / "out", found_in(series, radius_mm=radius_mm), series, SERVED)
    paths = sorted((tmp_path / "out").glob("*.dcm"))
    assert len(paths) == (1 if radius_mm is None else 2)
    for path in paths:
        ended = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        said = (ended.stdout + ended.stderr).splitlines()
        assert [line for line in said if line.startswith("Error")] == []
        assert {"Segmentation", "Comprehensive3DSR"} & set(said)


@pytest.mark.slow
@pytest.mark.usefixtures("answered")
def test_predict_writes_both_of_a_dicom_series_alone(tmp_path: Path) -> None:
    """An earlier run's are removed where a run writes none: on request, or of a NIfTI file."""
    ct, nodules, out = write_dicom(tmp_path / "ct", extra=FRAME), write_centers(tmp_path / "n.csv"), tmp_path / "out"
    without = PredictionOptions(dicom_results=False)
    for again in (Case(ct, nodules, options=without), Case(write_ct(tmp_path / "scan.nii.gz"), nodules)):
        predict.predict_ct(Case(ct, nodules), out, url="any")
        assert {path.name for path in out.glob("*.dcm")} == {SEGMENTATION, REPORT}
        assert "research use only" in pydicom.dcmread(out / REPORT).SeriesDescription
        volumes = read_table(out / "nodules.csv")["volume_mm3"].tolist()
        groups = highdicom.sr.srread(out / REPORT).content.get_volumetric_roi_measurement_groups()
        assert [numbers_of(group)["118565006", None, None][0] for group in groups] == volumes
        predict.predict_ct(again, out, url="any")
        assert not list(out.glob("*.dcm"))


@pytest.mark.slow
@pytest.mark.usefixtures("answered")
def test_a_series_that_does_not_fit_still_gets_the_rest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ct, out = write_dicom(tmp_path / "ct"), tmp_path / "out"
    with caplog.at_level(logging.WARNING):
        predict.predict_ct(Case(ct, write_centers(tmp_path / "n.csv")), out, url="any")
    assert "a slice lacks the attribute FrameOfReferenceUID" in caplog.text
    assert str(tmp_path) not in (out / "nodules.json").read_text() + (out / "report.html").read_text()
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    masks = {"masks/nodule_0.nii.gz", "masks/nodule_1.nii.gz"}
    assert written == {"nodules.csv", "nodules.json", "nodules.nii.gz", "report.html", *masks}


@pytest.mark.slow
@pytest.mark.usefixtures("answered")
def test_a_series_names_its_patient_to_the_training(tmp_path: Path) -> None:
    """Whom the training saw is named without --patient_id, in the report and in both files."""
    ct, out = write_dicom(tmp_path / "ct", extra=FRAME), tmp_path / "out"
    nodules = write_centers(tmp_path / "n.csv")
    predict.predict_ct(Case(ct, nodules), out, url="has seen the patient")
    assert "was trained on a patient with this ID, SYNTHETIC" in (out / "report.html").read_text()
    for name in (SEGMENTATION, REPORT):
        assert "NO RESULT" in pydicom.dcmread(out / name).SeriesDescription
    predict.predict_ct(Case(ct, nodules), out, url="has seen somebody else")
    assert "was trained on a patient with this ID" not in (out / "report.html").read_text()
