"""DICOM series: geometry equal to SimpleITK's, values in HU, untrustworthy series refused."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import JPEGLosslessSV1, RLELossless

from lung_nodule.errors import InputError
from lung_nodule.io import Volume, find_series, read_ct, read_series, sort_series
from tests.io.dicom_series import UID_ROOT, SeriesPlan, axial_corners, telling, write_series
from tests.slow import slow_except

LIDC = Path(__file__).resolve().parents[3] / "shared" / "data" / "lidc_dicom"
POSITIONS = [-7.5, -5.0, -2.5, 0.0, 2.5]
SHAPE = (6, 8)
ORIENTATIONS = {
    "untilted": (1, 0, 0, 0, 1, 0),
    "turned by 180 degrees in plane": (-1, 0, 0, 0, -1, 0),
    "mirrored in plane": (-1, 0, 0, 0, 1, 0),
    "turned by 90 degrees in plane": (0, 1, 0, -1, 0, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.6, 0.8, 0),
}


def shuffled_plan(orientation: tuple[float, ...]) -> SeriesPlan:
    """Five slices along the orientation's normal, written in another order."""
    normal = np.cross(orientation[:3], orientation[3:])
    corners = [np.array([-20.0, -30.0, 5.0]) + z * normal for z in np.roll(POSITIONS, 2)]
    return SeriesPlan(corners=corners, stored=telling(SHAPE), orientation=orientation)


def simpleitk_volume(folder: Path) -> Volume:
    """The series as SimpleITK reads it, as [x, y, z] and RAS."""
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image).transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_geometry_and_voxels_equal_simpleitks(tmp_path: Path, name: str) -> None:
    write_series(tmp_path, shuffled_plan(ORIENTATIONS[name]))
    ours, theirs = read_series(tmp_path).volume, simpleitk_volume(tmp_path)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)
    np.testing.assert_array_equal(ours.data, theirs.data)
    assert ours.data.dtype == np.int16


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_pixel_stands_where_its_header_says(tmp_path: Path, name: str) -> None:
    """The DICOM standard's equation C.7.6.2.1-1, file by file."""
    paths = write_series(tmp_path, shuffled_plan(ORIENTATIONS[name]))
    volume = read_series(tmp_path).volume
    for path in paths:
        header = pydicom.dcmread(path)
        along_column, along_row = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
        row, column = 4, 7
        lps = np.array(header.ImagePositionPatient, dtype=float)
        lps = lps + along_column * header.PixelSpacing[1] * column + along_row * header.PixelSpacing[0] * row
        index = volume.to_index(lps * [-1, -1, 1])
        np.testing.assert_allclose(index, np.rint(index), atol=1e-6)
        assert volume.data[tuple(np.rint(index).astype(int))] == header.pixel_array[row, column] - 1024


@pytest.mark.slow
@pytest.mark.parametrize("patient", ["LIDC-IDRI-0006", "LIDC-IDRI-0013"])
def test_real_series_equal_simpleitks(patient: str) -> None:
    folders = sorted((LIDC / patient).glob("*/*"))
    if not folders:
        pytest.skip(f"the real series is not at {LIDC}")
    series, theirs = read_series(folders[0]), simpleitk_volume(folders[0])
    np.testing.assert_allclose(series.volume.affine, theirs.affine, atol=1e-5)
    tissue = theirs.data > -2000
    np.testing.assert_array_equal(series.volume.data[tissue], theirs.data[tissue])
    assert (series.volume.data[~tissue] == -1024).all()
    assert series.patient_id == patient


def test_series_are_separated_and_other_files_skipped(tmp_path: Path) -> None:
    plan = SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE))
    write_series(tmp_path / "a", plan)
    plan.series_uid, plan.patient_id = UID_ROOT + "9", "ANOTHER"
    write_series(tmp_path / "b" / "deep", plan)
    plan.series_uid, plan.extra = UID_ROOT + "10", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1"}
    write_series(tmp_path / "xray", plan)
    (tmp_path / "a" / "078.xml").write_text("<xml/>")
    found = find_series(tmp_path)
    assert [(item.patient_id, len(item.paths)) for item in found] == [("ANOTHER", 5), ("SYNTHETIC", 5)]
    assert sorted(found[0].z_positions) == POSITIONS
    with pytest.raises(InputError, match="2 CT series under"):
        read_series(tmp_path)
    assert read_series(found[1]).series_uid == plan.series_uid[:-2] + "2"
    np.testing.assert_array_equal(read_ct(tmp_path / "a").volume.data, read_series(found[1]).volume.data)


def test_a_page_without_a_position_of_another_series_is_no_slice_of_this_one(tmp_path: Path) -> None:
    """A dose report stored as a CT image, say; of the series itself it may be a slice."""
    write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    page = pydicom.dcmread(tmp_path / "000001.dcm")
    del page.ImagePositionPatient
    page.save_as(tmp_path / "page.dcm")
    with pytest.raises(
        InputError, match=r"page\.dcm cannot be read \(it has no ImagePositionPatient \(cut short\?\)\)"
    ):
        read_series(tmp_path)
    page.SeriesInstanceUID = "1.2.3"
    page.save_as(tmp_path / "page.dcm")
    assert read_series(tmp_path).volume.shape[2] == len(POSITIONS)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_series(tmp_path / "absent")
    assert find_series(tmp_path) == []
    with pytest.raises(InputError, match="no DICOM CT image under"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([0, 2.5, 7.5, 10], "missing slices at 5 mm"),
        ([0, 2.5, 2.5, 5], r"different slices at one position, at 2\.5 mm"),
        ([0, 2.5, 5, 9, 11.5], r"mostly 2\.5 mm apart, but 4 to 4 mm after 5 mm"),
        ([0], "at least two"),
    ],
)
def test_series_with_wrong_positions_are_refused(tmp_path: Path, positions: list[float], message: str) -> None:
    write_series(tmp_path, SeriesPlan(corners=axial_corners(positions), stored=telling(SHAPE)))
    with pytest.raises(InputError, match=message):
        read_series(tmp_path)


CORNER = np.indices(SHAPE).sum(axis=0) == 0


@pytest.mark.parametrize("name", ["untilted", "mirrored in plane", "oblique"])
def test_uneven_slices_stand_where_their_headers_say(tmp_path: Path, name: str) -> None:
    """Values that are linear in position are given back at every voxel's own position, whatever the slices' order."""
    normal = np.cross(ORIENTATIONS[name][:3], ORIENTATIONS[name][3:])
    positions = np.array([0, 2.5, 3.5, 5, 7.5, 10, 13.5])[[2, 0, 1, 4, 3, 6, 5]]
    plan = SeriesPlan(
        corners=[np.array([-20.0, -30.0, 5.0]) + z * normal for z in positions],
        stored=lambda number: np.where(CORNER, 1, round(100 * positions[number])).astype(np.int16),
        orientation=ORIENTATIONS[name],
        intercept=0,
    )
    write_series(tmp_path, plan)
    series = read_series(tmp_path)
    corner_ras = np.array([20.0, 30.0, 5.0])
    at = (series.volume.to_world([[2, 3, k] for k in range(series.volume.shape[2])]) - corner_ras) @ (
        normal * [-1, -1, 1]
    )
    np.testing.assert_allclose(at, [0, 2.5, 5, 7.5, 10, 12.5], atol=1e-9)
    np.testing.assert_array_equal(series.volume.data[2, 3], 100 * at)
    assert set(series.remarks) == {"non_uniform_z"}
    assert "1 positions interpolated" in series.remarks["non_uniform_z"]
    np.testing.assert_allclose(series.grid.nearest, [0, 1, 3, 4, 5, 6])


def test_equal_slices_at_one_position_are_kept_once(tmp_path: Path) -> None:
    positions = [0.0, 2.5, 2.5, 5.0, 7.5, 7.5, 7.5]
    numbers = np.unique(positions, return_inverse=True)[1]
    plan = SeriesPlan(corners=axial_corners(positions), stored=lambda number: telling(SHAPE)(numbers[number]))
    write_series(tmp_path, plan)
    series = read_series(tmp_path)
    assert series.volume.shape == (8, 6, 4)
    np.testing.assert_array_equal(series.volume.data[:, :, 1].T, telling(SHAPE)(1) - 1024)
    assert series.duplicates == (2.5, 7.5)
    assert series.remarks == {"duplicate_z": "one of each kept of the equal slices at 2.5, 7.5 mm"}


def test_a_gap_of_a_series_known_to_be_complete_is_air(tmp_path: Path) -> None:
    plan = SeriesPlan(corners=axial_corners([0, 19, 20, 21, 22]), stored=telling(SHAPE))
    write_series(tmp_path, plan)
    with pytest.raises(InputError, match=r"missing slices at 1, 2, .* \(18 in all\)"):
        read_series(tmp_path)
    series = read_series(tmp_path, complete=True)
    assert series.volume.shape[2] == 23
    assert (series.volume.data[:, :, 1:19] == -1024).all()
    np.testing.assert_array_equal(series.volume.data[:, :, 19:].transpose(2, 1, 0)[0], telling(SHAPE)(1) - 1024)
    assert set(series.remarks) == {"non_uniform_z", "unmeasured_gap"}


def test_gantry_tilt_is_refused(tmp_path: Path) -> None:
    corners = [(-20.0, -30.0 + 0.5 * z, z) for z in POSITIONS]
    write_series(tmp_path, SeriesPlan(corners=corners, stored=telling(SHAPE)))
    with pytest.raises(InputError, match="gantry-tilted series are not supported"):
        read_series(tmp_path)


def write_directions(folder: Path, *directions: float) -> None:
    for path in write_series(folder, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE))):
        header = pydicom.dcmread(path)
        header.ImageOrientationPatient = list(directions)
        header.save_as(path)


def test_rounded_directions_are_set_straight(tmp_path: Path) -> None:
    write_directions(tmp_path, 1.0, 0.01, 0.0, -0.004, 1.0, 0.0)
    volume = read_series(tmp_path).volume
    axes = volume.affine[:3, :3] / volume.spacing
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("directions", [(2.0, 0, 0, 0, 2.0, 0), (1.0, 0, 0, 0.2, 0.98, 0)])
def test_directions_that_are_no_unit_vectors_at_right_angles(directions: tuple[float, ...], tmp_path: Path) -> None:
    write_directions(tmp_path, *directions)
    with pytest.raises(
        InputError, match=r"ImageOrientationPatient \(.*\) is not a pair of unit vectors at right angles"
    ):
        read_series(tmp_path)


@pytest.mark.parametrize("number", [0, 3])
def test_a_slice_that_does_not_fit_is_named(number: int, tmp_path: Path) -> None:
    """Also where it is the first one along the normal."""
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    odd = pydicom.dcmread(paths[number])
    odd.PixelSpacing = [0.75, 0.6]
    odd.save_as(paths[number])
    with pytest.raises(InputError, match=rf"{paths[number].name} does not fit its series: PixelSpacing \[0.75, 0.6\]"):
        read_series(tmp_path)


def test_truncated_pixels_are_named(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    paths[2].write_bytes(paths[2].read_bytes()[:-20])
    with pytest.raises(InputError, match=r"000003\.dcm"):
        read_series(tmp_path)


def compressed(tmp_path: Path) -> list[Path]:
    """The series, its pixels packed as RLE."""
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    return paths


def test_rle_is_read(tmp_path: Path) -> None:
    compressed(tmp_path)
    data = read_series(tmp_path).volume.data
    for k in range(len(POSITIONS)):
        np.testing.assert_array_equal(data[:, :, k].T, telling(SHAPE)(k) - 1024)


def test_truncated_rle_is_named(tmp_path: Path) -> None:
    paths = compressed(tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-60])
    with pytest.raises(InputError, match=r"000002\.dcm"):
        read_series(tmp_path)


def test_a_compression_without_a_decoder_is_named(tmp_path: Path) -> None:
    paths = compressed(tmp_path)
    dataset = pydicom.dcmread(paths[3])
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(paths[3])
    with pytest.raises(InputError, match=r"000004\.dcm \(JPEG Lossless.*\): .*decompress it"):
        read_series(tmp_path)


@pytest.mark.parametrize("kept", [0, 200, 700])
def test_a_file_cut_in_its_header_is_named(tmp_path: Path, kept: int) -> None:
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    paths[-1].write_bytes(paths[-1].read_bytes()[:kept])
    (tmp_path / "._000001.dcm").write_bytes(b"what macOS leaves beside a file")
    with pytest.raises(InputError, match=r"000005\.dcm"):
        read_series(tmp_path)


@pytest.mark.parametrize(("value", "declared"), [(63536, None), (63536, 63536), (63536, -2000), (65535, -1)])
def test_padding_of_unsigned_pixels_becomes_air(value: int, declared: int | None, tmp_path: Path) -> None:
    def stored(number: int) -> np.ndarray:
        pixels = telling(SHAPE)(number).astype(np.uint16)
        pixels[0, :3] = value
        return pixels.view(np.int16)

    extra = {"PixelRepresentation": 0}
    for path in write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=stored, extra=extra)):
        dataset = pydicom.dcmread(path)
        if declared is not None:
            dataset.add_new("PixelPaddingValue", "SS" if declared < 0 else "US", declared)
            dataset.save_as(path)
    data = read_series(tmp_path).volume.data
    assert (data[:3, 0, :] == -1024).all()
    assert data.max() < 2000


def test_the_headers_do_not_keep_the_pixels(tmp_path: Path) -> None:
    """A whole scan's would double the memory."""
    write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling((256, 256))))
    (files,) = find_series(tmp_path, keep_headers=True)
    read_series(files)
    for header in files.headers:
        assert header._dict[Tag("PixelData")].value is None  # get_item would read it


def test_a_single_shifted_slice_is_named(tmp_path: Path) -> None:
    corners = axial_corners(np.arange(20) * 2.5)
    corners[7] = (corners[7][0] + 5.0, *corners[7][1:])
    write_series(tmp_path, SeriesPlan(corners=corners, stored=telling(SHAPE)))
    with pytest.raises(InputError, match=r"000008\.dcm is shifted against the other slices by 5\.00 mm: remove"):
        read_series(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("SliceThickness", "2,5"), ("InstanceNumber", "abc")])
def test_an_attribute_that_is_not_needed_may_be_no_number(name: str, value: str, tmp_path: Path) -> None:
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    for path in paths:
        dataset = pydicom.dcmread(path)
        with disable_value_validation():
            dataset[name] = RawDataElement(
                Tag(name),
                dictionary_VR(name),
                len(value),
                value.encode(),
                0,
                is_implicit_VR=False,
                is_little_endian=True,
            )
            dataset.save_as(path)
    series = read_series(tmp_path)
    assert math.isnan(series.slice_thickness_mm) == (name == "SliceThickness")
    assert set(series.instance_numbers) == ({None} if name == "InstanceNumber" else {1, 2, 3, 4, 5})


@pytest.mark.parametrize("declared", [None, -2000, 63536])
def test_padding_becomes_air(tmp_path: Path, declared: int | None) -> None:
    def stored(number: int) -> np.ndarray:
        pixels = telling(SHAPE)(number)
        pixels[0, :3] = -2000
        return pixels

    plan = SeriesPlan(corners=axial_corners(POSITIONS), stored=stored)
    paths = write_series(tmp_path, plan)
    for path in paths if declared is not None else []:
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", "US" if declared > 0 else "SS", declared)
        dataset.save_as(path)
    data = read_series(tmp_path).volume.data
    assert (data[:3, 0, :] == -1024).all()
    for k in range(len(POSITIONS)):
        np.testing.assert_array_equal(data[3:, :, k].T, telling(SHAPE)(k)[:, 3:] - 1024)


def test_a_padding_value_that_is_tissue_is_not_believed(tmp_path: Path) -> None:
    plan = SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE), extra={"PixelPaddingValue": 1024})
    plan.stored = lambda number: np.full(SHAPE, 1024, np.int16)
    write_series(tmp_path, plan)
    assert (read_series(tmp_path).volume.data == 0).all()


def test_odd_number_formats_and_slopes(tmp_path: Path) -> None:
    plan = SeriesPlan(
        corners=axial_corners(POSITIONS), stored=telling(SHAPE), pixel_spacing=("006.054690e-01", "006.054690e-01")
    )
    plan.extra = {"RescaleSlope": "0.5", "RescaleIntercept": "-1000.0"}
    paths = write_series(tmp_path, plan)
    assert b"006.054690e-01" in paths[0].read_bytes()
    volume = read_series(tmp_path).volume
    np.testing.assert_allclose(volume.spacing, [0.605469, 0.605469, 2.5])
    np.testing.assert_array_equal(volume.data[:, :, 1].T, np.rint(telling(SHAPE)(1) * 0.5 - 1000))


def test_a_missing_attribute_gives_one_line(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    for path in paths:
        dataset = pydicom.dcmread(path)
        del dataset.PixelSpacing
        dataset.save_as(path)
    with pytest.raises(InputError, match=r"000001\.dcm lacks the attribute PixelSpacing"):
        read_series(tmp_path)


@pytest.mark.parametrize("tag", ["RescaleIntercept", "RescaleSlope"])
@pytest.mark.parametrize("value", [None, "", "nan", "0"])
def test_a_ct_without_its_rescale_is_refused(tmp_path: Path, tag: str, value: str | None) -> None:
    """One file of the series is enough: its slice would lie 1024 HU too high."""
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    dataset = pydicom.dcmread(paths[2])
    delattr(dataset, tag)
    if value is not None:
        dataset.add_new(tag, "DS", value)
    dataset.save_as(paths[2])
    if (tag, value) == ("RescaleIntercept", "0"):
        np.testing.assert_array_equal(read_ct(tmp_path).volume.data[:, :, 2].T, telling(SHAPE)(2))
        return
    said = f"{tag} is " if value in ("nan", "0") else f"lacks the attribute {tag}"
    with pytest.raises(InputError, match=rf"000003\.dcm.*{said}.*not HU"):
        read_ct(tmp_path)


def test_every_slice_has_its_own_rescale(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    for number, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        dataset.RescaleIntercept, dataset.RescaleSlope = -1000 - number, 1 + number
        dataset.save_as(path)
    data = read_ct(tmp_path).volume.data
    for k in range(len(POSITIONS)):
        np.testing.assert_array_equal(data[:, :, k].T, telling(SHAPE)(k) * (1 + k) - 1000 - k)


def copy_of(path: Path) -> Path:
    """A second copy of a file, as another download beside the first leaves it."""
    copy = path.with_name(f"{path.stem} (1){path.suffix}")
    shutil.copyfile(path, copy)
    return copy


def test_copies_of_a_file_are_one_slice_without_a_remark(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    expected = read_series(tmp_path)
    for path in paths:
        copy_of(path)
    series = read_series(tmp_path)
    np.testing.assert_array_equal(series.volume.data, expected.volume.data)
    assert series.remarks == expected.remarks


def test_a_damaged_copy_of_a_file_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    expected = read_series(tmp_path)
    copy = copy_of(paths[1])
    copy.write_bytes(copy.read_bytes()[:-40])
    np.testing.assert_array_equal(read_series(tmp_path).volume.data, expected.volume.data)
    assert f"left out a damaged copy of a slice: cannot read the pixels of {copy}" in caplog.text
    paths[1].write_bytes(copy.read_bytes())
    with pytest.raises(InputError, match="cannot read the pixels of"):
        read_series(tmp_path)


@pytest.mark.parametrize("damage", slow_except({"digit"}, ["cut", "digit", "representation"]))
def test_a_damaged_header_is_named_and_nothing_else_is_lost(damage: str, tmp_path: Path) -> None:
    """Pydicom raises errors of many kinds; cut at some lengths, a file has the SOP class of another object."""
    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE)))
    whole = paths[1].read_bytes()
    at = whole.index(b"\x20\x00\x32\x00DS")
    spoilt = {
        "digit": [whole[: at + 8] + b"\x96" + whole[at + 9 :]],
        "representation": [whole[: at + 4] + b"D\x26" + whole[at + 6 :]],
        "cut": [whole[:length] for length in range(132, 420)],
    }
    for content in spoilt[damage]:
        paths[1].write_bytes(content)
        found, unreadable = sort_series(paths)
        assert len(found) == 1
        assert set(found[0].paths) >= {path for path in paths if path != paths[1]}
        assert damage == "cut" or {*found[0].paths, *unreadable} == set(paths)
