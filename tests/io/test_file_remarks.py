"""What a series' remarks say of its files, and which of several slices at one position is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from lung_nodule.errors import InputError
from lung_nodule.io import read_series
from tests.io.dicom_series import SeriesPlan, axial_corners, telling, write_series

POSITIONS = [0.0, 2.5, 5.0, 7.5]
SHAPE = (6, 8)


def written(folder: Path, **changes: object) -> list[Path]:
    return write_series(folder, SeriesPlan(corners=axial_corners(POSITIONS), stored=telling(SHAPE), **changes))


def test_a_plain_series_has_no_remarks(tmp_path: Path) -> None:
    written(tmp_path)
    assert read_series(tmp_path).remarks == {}


@pytest.mark.parametrize("text", ["006.054690e-01", "6.05469E-1", "00.605469", "+00.605469"])
def test_odd_numbers_are_named_with_an_example(tmp_path: Path, text: str) -> None:
    written(tmp_path, pixel_spacing=("0.605469", text))
    series = read_series(tmp_path)
    assert series.remarks == {"odd_numbers": f"PixelSpacing such as {text} in 4 files"}
    assert series.volume.spacing[0] == pytest.approx(0.605469)


@pytest.mark.parametrize("text", ["0.605469", " 0.605469", ".605469", "+0.605469", "1", "10.0"])
def test_plain_numbers_are_not_odd(tmp_path: Path, text: str) -> None:
    written(tmp_path, pixel_spacing=("0.605469", text))
    assert read_series(tmp_path).remarks == {}


def test_padding_and_compression_are_counted(tmp_path: Path) -> None:
    def stored(number: int) -> np.ndarray:
        pixels = telling(SHAPE)(number)
        pixels[0, : 3 * (number < 2)] = -2000
        return pixels

    paths = write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=stored))
    dataset = pydicom.dcmread(paths[3])
    dataset.compress(RLELossless)
    dataset.save_as(paths[3])
    assert read_series(tmp_path).remarks == {
        "padding": "6 pixels of 2 slices set to -1024 HU",
        "compressed": "RLE Lossless in 1 of 4 files",
    }


def test_slices_of_one_value_are_counted(tmp_path: Path) -> None:
    """A download that was cut short may be zeros to its end."""

    def stored(number: int) -> np.ndarray:
        return telling(SHAPE)(number) * np.int16(number != 1)

    write_series(tmp_path, SeriesPlan(corners=axial_corners(POSITIONS), stored=stored))
    assert read_series(tmp_path).remarks == {"blank_slices": "all pixels of 1 slices are equal (number 2 from below)"}


@pytest.mark.parametrize(("rule", "taken", "number"), [("first", 4, "lowest"), ("last", 1, "highest")])
def test_of_different_slices_the_instance_number_decides(tmp_path: Path, rule: str, taken: int, number: str) -> None:
    """Three files at 2.5 mm: two of them equal, the third with other pixels, the numbers against the files' order."""
    corners = axial_corners([0.0, 2.5, 2.5, 5.0, 2.5])
    content = {0: 0, 1: 1, 2: 1, 3: 3, 4: 4}
    paths = write_series(tmp_path, SeriesPlan(corners=corners, stored=lambda k: telling(SHAPE)(content[k])))
    for path, instance in zip(paths, [9, 8, 7, 6, 5], strict=True):
        dataset = pydicom.dcmread(path)
        dataset.InstanceNumber = instance
        dataset.save_as(path)
    with pytest.raises(InputError, match=r"different slices at one position, at 2\.5 mm: .*--duplicates first"):
        read_series(tmp_path)
    series = read_series(tmp_path, duplicates=rule)
    np.testing.assert_array_equal(series.volume.data[:, :, 1].T, telling(SHAPE)(taken) - 1024)
    assert series.volume.shape[2] == 3
    assert series.duplicates == ()
    text = f"of different slices the one of {number} InstanceNumber kept at 2.5 mm"
    assert series.remarks == {"differing_duplicates": text}
