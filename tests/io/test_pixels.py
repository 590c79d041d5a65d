"""Stored values to HU: the quick way against pydicom's decoder and plain float64 arithmetic."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lung_nodule.io.dicom.pixels import AIR_HU, NO_TISSUE_HU, _native, hounsfield
from tests.io.dicom_series import SeriesPlan, axial_corners, write_series

SHAPE = (12, 9)
RESCALES = [(1, -1024), (1, 0), (1, -32000), (1, 40000), (2, -1024), (0.5, -1000), (1, -1024.5), (1.25, 7)]


def slice_of(folder: Path, *, seed: int, signed: bool, bits: int, slope: float, intercept: float) -> Path:
    """One file of random stored values that use the whole range of its bits, both ends included."""
    random = np.random.default_rng(seed)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    stored = random.integers(low, high + 1, SHAPE)
    stored[0, :2] = low, high
    extra = {
        "RescaleSlope": slope, "PixelRepresentation": int(signed), "BitsStored": bits, "HighBit": bits - 1,
        "PixelData": stored.astype("<i2" if signed else "<u2").tobytes(),
    }  # fmt: skip
    blank = np.zeros(SHAPE, np.int16)
    plan = SeriesPlan(axial_corners([0.0]), lambda number: blank, intercept=intercept, extra=extra)
    return write_series(folder, plan)[0]


@pytest.mark.parametrize(("slope", "intercept"), RESCALES)
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("signed", [True, False])
def test_hounsfield_is_slope_and_intercept(
    tmp_path: Path, signed: bool, bits: int, slope: float, intercept: float
) -> None:
    for seed in range(3):
        path = slice_of(
            tmp_path / str(seed), seed=seed, signed=signed, bits=bits, slope=slope, intercept=intercept
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            stored = dataset.pixel_array.astype(np.float64)
        expected = np.rint(stored * slope + intercept).clip(-32768, 32767)
        expected[expected <= NO_TISSUE_HU] = AIR_HU
        np.testing.assert_array_equal(hounsfield(dataset, path), expected)
        assert (_native(dataset) is not None) == (bits == 16)


@pytest.mark.parametrize("signed", [True, False])
def test_the_quick_way_reads_what_pydicom_reads(tmp_path: Path, signed: bool) -> None:
    dataset = pydicom.dcmread(slice_of(tmp_path, seed=5, signed=signed, bits=16, slope=1, intercept=0))
    native = _native(dataset)
    assert native is not None
    np.testing.assert_array_equal(native, dataset.pixel_array)


def test_the_file_is_not_changed_by_reading(tmp_path: Path) -> None:
    path = slice_of(tmp_path, seed=6, signed=True, bits=16, slope=1, intercept=-1024)
    dataset = pydicom.dcmread(path)
    before = bytes(dataset.PixelData)
    assert (hounsfield(dataset, path) == hounsfield(dataset, path)).all()
    assert dataset.PixelData == before
