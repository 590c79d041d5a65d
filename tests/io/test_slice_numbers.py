"""The numbers of slices: those of the DICOM file, or of the voxel in the NIfTI file, at the same place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from lung_nodule.io import Ct, SliceNumbers, Volume, read_ct, read_series, slice_numbers
from tests.io.dicom_series import SeriesPlan, axial_corners, telling, write_series

SHAPE = (6, 8)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, OBLIQUE])
def test_an_image_number_is_that_of_the_file_whose_slice_lies_there(
    orientation: tuple[float, ...], tmp_path: Path
) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    corners = [np.array([-20.0, -30.0, 5.0]) + z * normal for z in (2.5, -5.0, 0.0, -2.5)]
    paths = write_series(tmp_path, SeriesPlan(corners, telling(SHAPE), orientation=orientation))
    headers = [pydicom.dcmread(path) for path in paths]
    pixels = {int(header.InstanceNumber): header.pixel_array - 1024 for header in headers}
    ct = read_ct(tmp_path)
    numbers, canonical = slice_numbers(ct), ct.volume.canonical()
    assert numbers.instances
    assert list(numbers.along) == [numbers.axis] == [int(np.abs(normal).argmax())]
    for index in range(4):
        number = numbers.at(numbers.axis, index)
        assert numbers.in_words(numbers.axis, index) == f"image {number}"
        shown = np.take(canonical.data, index, axis=numbers.axis)
        assert sorted(shown.ravel()) == sorted(pixels[number].ravel())
    assert sorted(numbers.along[numbers.axis]) == [1, 2, 3, 4]
    assert numbers.at((numbers.axis + 1) % 3, 0) is None
    assert numbers.in_words((numbers.axis + 1) % 3, 0) == ""


@pytest.mark.parametrize("signs", [(-1, -1, 1), (1, 1, -1), (1, -1, 1)])
def test_an_index_is_that_of_the_files_own_voxels(signs: tuple[int, int, int]) -> None:
    """Counted from 1, along each of the file's axes, however they lie in the patient."""
    data = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.int16)
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(signs) * (0.7, 0.8, 2.0))[[1, 2, 0]]
    volume = Volume(data, affine)
    numbers, canonical = slice_numbers(Ct(volume)), volume.canonical()
    own_axis = np.abs(affine[:3, :3]).argmax(axis=1)
    assert not numbers.instances
    assert numbers.axis == 2
    for axis in range(3):
        for index in range(canonical.shape[axis]):
            number = numbers.at(axis, index)
            shown, own = np.take(canonical.data, index, axis), np.take(data, number - 1, own_axis[axis])
            assert sorted(shown.ravel()) == sorted(own.ravel())
            assert numbers.in_words(axis, index) == f"index {number}"


def test_a_slice_between_two_files_is_near_one_and_a_gap_has_none(tmp_path: Path) -> None:
    positions = [0.0, 2.0, 4.0, 6.6, 8.0, 10.0, 12.0, 22.0, 24.0]
    write_series(tmp_path, SeriesPlan(axial_corners(positions), telling(SHAPE)))
    series = read_series(tmp_path, complete=True)
    numbers = slice_numbers(Ct(series.volume, series))
    words = [numbers.in_words(2, index) for index in range(series.volume.shape[2])]
    assert words[:6] == ["image 1", "image 2", "image 3", "near image 4", "image 5", "image 6"]
    assert words[6:] == ["image 7", "", "", "", "", "image 8", "image 9"]


def test_study_date_and_numbers_are_the_headers(tmp_path: Path) -> None:
    write_series(tmp_path / "with", SeriesPlan(axial_corners([0, 2]), telling(SHAPE), extra={"StudyDate": "20000131"}))
    series = read_series(tmp_path / "with")
    assert (series.study_date, series.instance_numbers) == ("2000-01-31", (1, 2))
    write_series(
        tmp_path / "without", SeriesPlan(axial_corners([0, 2]), telling(SHAPE), extra={"InstanceNumber": None})
    )
    series = read_series(tmp_path / "without")
    assert (series.study_date, series.instance_numbers) == ("", (None, None))
    assert slice_numbers(Ct(series.volume, series)).at(2, 0) is None


def test_a_place_outside_has_the_number_of_the_last_slice() -> None:
    numbers = SliceNumbers(True, {2: (3, 2, 1)})
    assert [numbers.at(2, index) for index in (-0.5, 0.4, 0.6, 2.5)] == [3, 3, 2, 1]
