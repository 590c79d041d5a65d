"""Nodules read from DICOM segmentations and structured reports: our own, and such as other software writes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pandas as pd
import pydicom
import pytest
from highdicom import seg, sr
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage

from lung_nodule.deployment.dicom.results import REPORT, SEGMENTATION, write_dicom_results
from lung_nodule.deployment.dicom.source_headers import source_headers
from lung_nodule.deployment.nodules.sources import read_nodule_source
from lung_nodule.errors import InputError
from lung_nodule.io import CENTER, Series, write_nifti
from tests.deployment.hand_made import FRAME, SERVED, found_in, series_in
from tests.user_ct import CENTERS, chest, write_dicom

AT = np.array([30.0, 41.0, 12.0])
"""Column, row and slice of a nodule, and of two others."""
BESIDE, BELOW = np.array([45.0, 41.0, 20.0]), np.array([18.0, 21.0, 6.0])
ORIENTATIONS = {"axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), "turned": (0.0, -1.0, 0.0, -1.0, 0.0, 0.0)}


@pytest.fixture(params=ORIENTATIONS.values(), ids=ORIENTATIONS)
def series(request: pytest.FixtureRequest, tmp_path: Path) -> Series:
    return series_in(write_dicom(tmp_path / "ct", orientation=request.param, extra=FRAME))


@pytest.fixture
def axial(tmp_path: Path) -> Series:
    return series_in(write_dicom(tmp_path / "ct", extra=FRAME))


def read(path: Path, series: Series | None) -> pd.DataFrame:
    return read_nodule_source(path, series=lambda: series)


def world(series: Series, *at: Sequence[float]) -> np.ndarray:
    """RAS of (column, row, slice)."""
    return series.volume.to_world(np.array(at))


def voxel(series: Series) -> float:
    return float(series.volume.spacing.max())


def test_our_own_segmentation_gives_the_masks_places_and_sizes(series: Series, tmp_path: Path) -> None:
    middle = series.volume.to_world((np.array(series.volume.shape) - 1) / 2)
    findings = found_in(series, centers=[middle, middle + np.array([6.0, 1.0, 3.0])])  # they overlap
    write_dicom_results(tmp_path, findings, series, SERVED)
    table = read(tmp_path / SEGMENTATION, series)
    assert table["nodule_id"].tolist() == ["nodule_0", "nodule_1"]
    for row, finding in zip(table.to_dict("records"), findings, strict=True):
        assert finding.mask is not None
        assert finding.size is not None
        voxels = finding.voi.volume.to_world(np.argwhere(finding.mask))
        np.testing.assert_allclose([row[name] for name in CENTER], voxels.mean(axis=0), atol=1e-3)
        assert row["diameter_mm"] == pytest.approx(finding.size.axial_diameter_mm, abs=0.01)
        np.testing.assert_allclose([row[name] for name in CENTER], finding.center_ras, atol=voxel(series))


@pytest.mark.parametrize("radius_mm", [7.0, None], ids=["masks", "no masks"])
def test_our_own_report_gives_the_places_that_were_asked(
    series: Series, radius_mm: float | None, tmp_path: Path
) -> None:
    """Alone, without the segmentation, to the precision of 32-bit numbers."""
    middle = series.volume.to_world((np.array(series.volume.shape) - 1) / 2)
    findings = found_in(series, centers=[middle, middle + np.array([5.25, 1.0, 3.5])], radius_mm=radius_mm)
    write_dicom_results(tmp_path, findings, series, SERVED)
    (tmp_path / SEGMENTATION).unlink(missing_ok=True)
    table = read(tmp_path / REPORT, series)
    assert table["nodule_id"].tolist() == ["nodule_0", "nodule_1"]
    np.testing.assert_allclose(table[list(CENTER)], [finding.center_ras for finding in findings], atol=1e-4)
    if radius_mm is None:
        assert "diameter_mm" not in table.columns
    else:
        sizes = [finding.size.axial_diameter_mm for finding in findings if finding.size]
        np.testing.assert_allclose(table["diameter_mm"], sizes, atol=1e-4)


def segmented(
    path: Path, series: Series, segments: Sequence[tuple[str, Code, np.ndarray]], *, kind: str = "BINARY"
) -> Path:
    """A segmentation of label, category and voxels [slice, row, column] of each segment."""
    type_ = codes.SCT.Nodule
    described = [
        seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=category,
            segmented_property_type=type_,
            algorithm_type=seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, (name, category, _) in enumerate(segments, start=1)
    ]
    pixels = np.stack([mask for *_, mask in segments], axis=-1)
    highdicom.seg.Segmentation(
        source_images=source_headers(series)[0],
        pixel_array=pixels.astype(np.float32 if kind == "FRACTIONAL" else np.uint8),
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="another",
        manufacturer_model_name="another",
        software_versions="1",
        device_serial_number="1",
    ).save_as(path)
    return path


def blob(series: Series, at: Sequence[float], half: int = 3) -> np.ndarray:
    """[slice, row, column]: a cube around a voxel, one slice thick where ``half`` is 0."""
    columns, rows, slices = series.volume.shape
    grid = np.stack(np.meshgrid(np.arange(slices), np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    offset = np.abs(grid - np.array(at)[::-1])
    return (offset[..., 0] <= min(half, 2)) & (offset[..., 1:] <= max(half, 1)).all(axis=-1)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_every_part_of_a_segment_is_a_nodule_and_anatomy_is_none(
    kind: str, axial: Series, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finding, organ = codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.AnatomicalStructure
    places = [AT, BESIDE, BELOW]  # the larger part first
    two = blob(axial, AT) | blob(axial, BESIDE, 2)
    lung = np.zeros_like(two)
    lung[:, :10] = True
    segments = [("Lesions, all", finding, two), ("Lung", organ, lung), ("", finding, blob(axial, BELOW, 0))]
    if kind != "LABELMAP":
        segments.append(("Empty", finding, np.zeros_like(two)))
    path = segmented(tmp_path / "other.dcm", axial, segments, kind=kind)
    table = read(path, axial)
    assert table["nodule_id"].tolist() == ["Lesions_all", "Lesions_all_2", "nodule"]
    np.testing.assert_allclose(table[list(CENTER)], world(axial, *places), atol=1e-3)
    assert "segment 2 (Lung) is not a nodule" in caplog.text


def test_a_segmentation_of_one_frame_has_a_place(series: Series, tmp_path: Path) -> None:
    finding = codes.SCT.MorphologicallyAbnormalStructure
    path = segmented(tmp_path / "other.dcm", series, [("a", finding, blob(series, AT, 0))])
    assert pydicom.dcmread(path).NumberOfFrames == 1
    table = read(path, series)
    np.testing.assert_allclose(table[list(CENTER)], world(series, AT), atol=1e-3)


def group(name: str, *, template: str = "planar", uid: str | None = None, **content: Any) -> sr.Template:
    kinds = {
        "planar": sr.PlanarROIMeasurementsAndQualitativeEvaluations,
        "volume": sr.VolumetricROIMeasurementsAndQualitativeEvaluations,
        "image": sr.MeasurementsAndQualitativeEvaluations,
    }
    tracked = sr.TrackingIdentifier(uid=uid or highdicom.UID(), identifier=name)
    return kinds[template](tracking_identifier=tracked, finding_type=codes.SCT.Nodule, **content)


def reported(path: Path, series: Series, groups: Sequence[sr.Template], *, evidence: Sequence[Any] = ()) -> Path:
    """A report such as a viewer writes."""
    person = sr.PersonObserverIdentifyingAttributes(name="Reader^A")
    observer = sr.ObserverContext(codes.DCM.Person, person)
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_person_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
    )
    sr.Comprehensive3DSR(
        evidence=[*source_headers(series)[0], *evidence],
        content=content[0],
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="another",
    ).save_as(path)
    return path


def slice_image(series: Series, number: float, kind: type = sr.SourceImageForRegion) -> Any:
    return kind(CTImageStorage, pydicom.dcmread(series.paths[int(number)]).SOPInstanceUID)


def pixel(*points: Sequence[float]) -> np.ndarray:
    """Columns and rows as coordinates on an image, whose first pixel has its centre at one half."""
    return np.array([point[:2] for point in points], dtype=float) + 0.5


def lps(series: Series, *points: Sequence[float]) -> np.ndarray:
    return world(series, *points) * (-1, -1, 1)


def drawings(series: Series) -> dict[str, sr.Template]:
    """One nodule at AT, as different software draws it."""
    c, r, k = AT
    image, frame = slice_image(series, k), FRAME["FrameOfReferenceUID"]
    contour = [(c - 4, r - 3), (c + 4, r - 3), (c + 4, r + 3), (c, r + 3), (c - 4, r + 3), (c - 4, r - 3)]
    axes = [(c - 4, r), (c + 4, r), (c, r - 3), (c, r + 3)]
    line = sr.CoordinatesForMeasurement("POLYLINE", pixel((c - 4, r + 3), (c + 4, r - 3)), image)
    length = sr.Measurement(codes.SCT.Length, 0.75, codes.UCUM.Centimeter, referenced_coordinates=[line])
    ball = lps(series, *(AT + step for axis in np.eye(3) * (4, 3, 2) for step in (axis, -axis)))
    above = [sr.ImageRegion("POLYLINE", pixel(*contour), slice_image(series, k + step)) for step in (-1, 0, 1)]
    whole = sr.SourceSeriesForSegmentation(series.series_uid)
    return {
        "a point": group("a", referenced_region=sr.ImageRegion("POINT", pixel(AT), image)),
        "a circle": group("a", referenced_region=sr.ImageRegion("CIRCLE", pixel(AT, (c + 4, r)), image)),
        "an ellipse": group("a", referenced_region=sr.ImageRegion("ELLIPSE", pixel(*axes), image)),
        "a contour": group("a", referenced_region=sr.ImageRegion("POLYLINE", pixel(*contour), image)),
        "contours": group("a", template="volume", referenced_regions=above),
        "a long axis": group("a", template="image", measurements=[length]),
        "a point in space": group("a", referenced_region=sr.ImageRegion3D("POINT", lps(series, AT), frame)),
        "an ellipsoid": group(
            "a", template="volume",
            referenced_volume_surface=sr.VolumeSurface("ELLIPSOID", ball, frame, source_series=whole),
        ),
    }  # fmt: skip


def test_whatever_is_drawn_its_middle_is_the_place(series: Series, tmp_path: Path) -> None:
    for name, drawn in drawings(series).items():
        table = read(reported(tmp_path / "report.dcm", series, [drawn]), series)
        np.testing.assert_allclose(table[list(CENTER)], world(series, AT), atol=1e-3, err_msg=name)
        assert table["nodule_id"].tolist() == ["a"]
        if name == "a long axis":
            assert table["diameter_mm"].tolist() == [7.5]


def test_items_that_refer_to_another_are_passed_over(axial: Series, tmp_path: Path) -> None:
    path = reported(tmp_path / "report.dcm", axial, [drawings(axial)["a long axis"]])
    document = pydicom.dcmread(path)
    reference = pydicom.Dataset()
    reference.RelationshipType, reference.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 1]
    for node in document.iterall():
        if node.keyword == "ContentSequence":
            node.value.append(reference)
    document.save_as(path)
    assert read(path, axial)["diameter_mm"].tolist() == [7.5]


def test_a_group_takes_the_place_and_size_of_its_segment(
    axial: Series, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever its file beside the report is called; a group without a place is left out, and named."""
    finding, places = codes.SCT.MorphologicallyAbnormalStructure, (AT, BESIDE)
    blobs = [("a", finding, blob(axial, AT)), ("b", finding, blob(axial, BESIDE, 2))]
    path = segmented(tmp_path / "IM00001", axial, blobs)
    segmentation = seg.segread(path)
    segments = [sr.ReferencedSegment.from_segmentation(segmentation, number) for number in (2, 1)]
    frame = sr.ReferencedSegmentationFrame.from_segmentation(segmentation, frame_number=segmentation.NumberOfFrames)
    groups = [group(name, template="volume", referenced_segment=one) for name, one in zip("xy", segments, strict=True)]
    groups += [group("z", referenced_segment=frame), group("of the lung", template="image")]
    table = read(reported(tmp_path / "report.dcm", axial, groups, evidence=[segmentation]), axial)
    assert table["nodule_id"].tolist() == ["x", "y", "z"]
    np.testing.assert_allclose(table[list(CENTER)], world(axial, places[1], places[0], places[1]), atol=1e-3)
    large, small = read(path, axial)["diameter_mm"]
    assert table["diameter_mm"].tolist() == [small, large, small]
    assert "of the lung has no position and is left out" in caplog.text
    path.unlink()
    with pytest.raises(InputError, match=f"refers to the segmentation {segmentation.SOPInstanceUID}: put its file"):
        read(tmp_path / "report.dcm", axial)


def test_another_ct_is_refused(axial: Series, tmp_path: Path) -> None:
    """By the frame of reference, else by the series, else by the slices."""
    write_dicom_results(tmp_path, found_in(axial), axial, SERVED)
    point = group("a", referenced_region=sr.ImageRegion("POINT", pixel(AT), slice_image(axial, 3)))
    reported(tmp_path / "drawn.dcm", axial, [point])
    elsewhere = {"FrameOfReferenceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5"}
    other = series_in(write_dicom(tmp_path / "other", extra=elsewhere))
    frames = rf"frame of reference {axial.frame_uid}, the CT .*in 1\.2\.3\.4: give"
    for name in (SEGMENTATION, REPORT):
        with pytest.raises(InputError, match=frames):
            read(tmp_path / name, other)
    without = series_in(write_dicom(tmp_path / "without", extra={"SeriesInstanceUID": "1.2.3.5"}))
    with pytest.raises(InputError, match=rf"refers to the series {axial.series_uid}, not to the CT's 1\.2\.3\.5: give"):
        read(tmp_path / SEGMENTATION, without)
    same = series_in(write_dicom(tmp_path / "same"))
    assert same.frame_uid == ""
    assert len(read(tmp_path / SEGMENTATION, same)) == len(CENTERS)
    foreign = Series(**{**vars(other), "paths": ()})
    with pytest.raises(
        InputError, match=r"a is drawn on the image .*, which is not a slice of the CT series 1\.2\.3\.5"
    ):
        read(tmp_path / "drawn.dcm", foreign)


def test_groups_of_one_tracking_uid_are_one_nodule(axial: Series, tmp_path: Path) -> None:
    """A lesion that a viewer outlined on three slices, and another."""
    c, r, k = AT
    corners = [(c - 4, r - 3), (c + 4, r - 3), (c + 4, r + 3), (c - 4, r + 3), (c - 4, r - 3)]
    groups = [
        group(
            "a",
            uid="1.2.3",
            referenced_region=sr.ImageRegion("POLYLINE", pixel(*corners), slice_image(axial, k + step)),
            measurements=[sr.Measurement(codes.SCT.LongAxis, 8.0 + step, codes.UCUM.Millimeter)],
        )
        for step in (-1, 0, 1)
    ]
    groups.append(group("b", referenced_region=sr.ImageRegion("POINT", pixel(BESIDE), slice_image(axial, BESIDE[2]))))
    table = read(reported(tmp_path / "report.dcm", axial, groups), axial)
    assert table["nodule_id"].tolist() == ["a", "b"]
    assert table["tracking_uid"].tolist()[0] == "1.2.3"
    np.testing.assert_allclose(table[list(CENTER)], world(axial, AT, BESIDE), atol=1e-3)
    assert table["diameter_mm"][0] == 9.0


def test_what_a_report_says_of_a_prior_is_left_out(
    axial: Series, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = group("now", referenced_region=sr.ImageRegion("POINT", pixel(AT), slice_image(axial, AT[2])))
    drawn = sr.ImageRegion("POINT", pixel(AT), sr.SourceImageForRegion(CTImageStorage, "1.2.3.4"))
    in_space = sr.ImageRegion3D("POINT", lps(axial, AT), "1.2.3.5")
    others = [group("drawn", referenced_region=drawn), group("in space", referenced_region=in_space)]
    now = sr.ImageRegion("POINT", pixel(BESIDE), slice_image(axial, BESIDE[2]))
    tracked = [group("t", uid="1.2.9", referenced_region=region) for region in (drawn, now)]
    prior = copy.deepcopy(source_headers(axial)[0][0])
    prior.SOPInstanceUID, prior.SeriesInstanceUID = "1.2.3.4", "1.2.3.6"
    path = reported(tmp_path / "report.dcm", axial, [others[0], here, others[1]], evidence=[prior])
    assert read(path, axial)["nodule_id"].tolist() == ["now"]
    assert "measurement group drawn is left out" in caplog.text
    assert "measurement group in space is left out" in caplog.text
    table = read(reported(tmp_path / "report.dcm", axial, tracked, evidence=[prior]), axial)
    assert table["tracking_uid"].tolist() == ["1.2.9"], "then and now"
    np.testing.assert_allclose(table[list(CENTER)], world(axial, BESIDE), atol=1e-3)
    with pytest.raises(InputError, match="drawn is drawn on the image"):
        read(reported(tmp_path / "report.dcm", axial, others, evidence=[prior]), axial)


def uneven(folder: Path) -> Series:
    """The chest with one slice moved by half the spacing."""
    corners = [(0.0, 0.0, 110.0 + 2.0 * k + (1.0 if k > 25 else 0.0)) for k in range(chest().shape[2])]
    return series_in(write_dicom(folder, corners=corners, extra=FRAME))


def test_a_segmentation_of_another_grid_is_read_in_its_own_geometry(tmp_path: Path) -> None:
    """Though it refers to the slices of a CT that are not evenly spaced."""
    series = uneven(tmp_path / "ct")
    finding = codes.SCT.MorphologicallyAbnormalStructure
    path = segmented(tmp_path / "other.dcm", series, [("a", finding, blob(series, AT))])
    document = pydicom.dcmread(path)
    measures = document.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [2 * value for value in measures.PixelSpacing]
    measures.SpacingBetweenSlices = 2.0
    document.save_as(path)
    table = read(path, series)
    column, row, k = AT
    np.testing.assert_allclose(table[list(CENTER)], world(series, (2 * column, 2 * row, k)), atol=1e-3)


@pytest.mark.parametrize("even", [True, False], ids=["even", "uneven"])
def test_a_segmentation_without_the_distance_of_its_planes_is_read_by_slices(even: bool, tmp_path: Path) -> None:
    series = series_in(write_dicom(tmp_path / "ct", extra=FRAME)) if even else uneven(tmp_path / "ct")
    finding = codes.SCT.MorphologicallyAbnormalStructure
    at = [np.array([30.0, 41.0, k]) for k in (4.0, 8.0, 15.0)]
    path = segmented(tmp_path / "other.dcm", series, [(f"n{k}", finding, blob(series, k, 0)) for k in at])
    document = pydicom.dcmread(path)
    measures = document.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if "SpacingBetweenSlices" in measures:
        del measures.SpacingBetweenSlices
    document.save_as(path)
    np.testing.assert_allclose(read(path, series)[list(CENTER)], world(series, *at), atol=1e-3)


def without_template(document: pydicom.Dataset) -> None:
    del document.ContentTemplateSequence


def without_pixels(document: pydicom.Dataset) -> None:
    del document.SegmentSequence


def test_what_holds_no_nodule_is_refused_in_one_line(axial: Series, tmp_path: Path) -> None:
    write_dicom_results(tmp_path, found_in(axial), axial, SERVED)
    write_nifti(tmp_path / "scan.nii.gz", chest())
    lung = ("Lung", codes.SCT.AnatomicalStructure, blob(axial, AT))
    for name, spoil in ((REPORT, without_template), (SEGMENTATION, without_pixels)):
        document = pydicom.dcmread(tmp_path / name)
        spoil(document)
        document.save_as(tmp_path / f"spoilt_{name}")
    cases = {
        axial.paths[0]: "is a CT Image Storage: give a DICOM segmentation or a structured report",
        segmented(tmp_path / "lung.dcm", axial, [lung]): "holds no segment that is a nodule",
        reported(tmp_path / "none.dcm", axial, [group("a", template="image")]): "holds no measurement group with a",
        tmp_path / f"spoilt_{REPORT}": "is not a measurement report of template TID 1500",
        tmp_path / f"spoilt_{SEGMENTATION}": "cannot be used: ",
    }
    for path, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            read(path, axial)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    with pytest.raises(InputError, match=r"refers to a DICOM series: give that as the CT .* not scan\.nii\.gz"):
        read_nodule_source(tmp_path / REPORT, series_of="scan.nii.gz")


def test_a_segmentation_without_its_dimension_index_is_refused(axial: Series, tmp_path: Path) -> None:
    """Highdicom then asks its table of frames for a column that is not there."""
    write_dicom_results(tmp_path, found_in(axial), axial, SERVED)
    damaged = pydicom.dcmread(tmp_path / SEGMENTATION)
    del damaged.DimensionIndexSequence
    damaged.save_as(tmp_path / "damaged.dcm")
    with pytest.raises(InputError, match=r"damaged\.dcm cannot be used: "):
        read(tmp_path / "damaged.dcm", axial)
