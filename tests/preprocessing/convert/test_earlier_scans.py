"""A phantom has the names and UIDs of real scans: real scans are not added to its dataset, nor the reverse."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pydicom
import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import Series, Volume, find_series, read_series
from preprocessing.convert import convert, series_checks
from preprocessing.dataset import ConversionSettings
from preprocessing.dataset.scan_records import is_synthetic
from preprocessing.lidc.records import ScanRecord
from tests.preprocessing.conftest import SMALL


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def scanner_root(small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small scan under the name of a scanner's manufacturer, with a file first that is no DICOM.

    Its slices are smaller than those of a scanner.
    """
    monkeypatch.setattr(series_checks, "MATRIX", read_series(small_root).volume.shape[:2])
    root = Path(shutil.copytree(small_root, tmp_path / "scanner"))
    (root / SMALL / "0.txt").write_text("no DICOM")
    for path in root.rglob("*.dcm"):
        header = pydicom.dcmread(path)
        header.Manufacturer = "GE MEDICAL SYSTEMS"
        header.save_as(path)
    return root


def test_real_scans_are_not_added_to_synthetic_ones(scanner_root: Path, small_dataset: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small_dataset, tmp_path / "out"))
    before = contents(out)
    with pytest.raises(InputError, match=r"holds synthetic scans and these files are of real ones .*another --out"):
        convert(scanner_root, out, patients=None, workers=1, settings=ConversionSettings())
    assert contents(out) == before


def test_synthetic_scans_are_not_added_to_real_ones(scanner_root: Path, small_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert convert(scanner_root, out, patients=None, workers=1, settings=ConversionSettings()) == []
    assert convert(scanner_root, out, patients=None, workers=1, settings=ConversionSettings()) == []
    with pytest.raises(InputError, match=r"holds real scans and these files are of synthetic ones .*another --out"):
        convert(small_root, out, patients=None, workers=1, settings=ConversionSettings())


def test_a_download_of_both_kinds_is_refused(scanner_root: Path, several_root: Path, tmp_path: Path) -> None:
    """Into a new dataset as well; within one series that scan alone is refused."""
    other = next(path for path in sorted(several_root.iterdir()) if path.is_dir() and path.name != SMALL)
    shutil.copytree(other, scanner_root / other.name)
    with pytest.raises(InputError, match=r"synthetic scans \(.*\) and of real ones \(.*separate folders"):
        convert(scanner_root, tmp_path / "out", patients=None, workers=1, settings=ConversionSettings())
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_a_series_of_both_kinds_is_refused(scanner_root: Path) -> None:
    (files,) = find_series(scanner_root, keep_headers=True)
    series_checks.require_one_kind(files)
    files.headers[3].Manufacturer = "SYNTHETIC PHANTOM"
    with pytest.raises(InputError, match=r"are of a phantom \(.*\) and real \(.*keep one kind"):
        series_checks.require_one_kind(files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"manufacturer": "SYNTHETIC PHANTOM", "columns": 300}, None),
        ({"columns": 384}, r"slices of 384 x 512 pixels, the original ones have 512 x 512"),
        ({"spacing": 1.1}, r"the original ones have .* mm, in which the readers drew: download the series again"),
    ],
)
def test_slices_on_another_pixel_grid_are_refused(
    change: dict[str, Any], message: str | None, small_scan: ScanRecord
) -> None:
    """The readers' contours are pixels: on other pixels the masks would lie elsewhere."""
    known = {"manufacturer": "GE MEDICAL SYSTEMS", "columns": 512, "spacing": 1.0, **change}
    mm = small_scan.pixel_spacing_mm * known["spacing"]
    volume = Volume(np.zeros((known["columns"], 512, 2), dtype=np.int16), np.diag([-mm, -mm, 2.5, 1]))
    series = cast(Series, SimpleNamespace(volume=volume, manufacturer=known["manufacturer"]))
    with pytest.raises(InputError, match=message) if message else nullcontext():
        series_checks.require_pixel_grid(series, small_scan)


def test_what_a_manufacturer_s_name_says() -> None:
    assert is_synthetic("SYNTHETIC PHANTOM")
    assert not is_synthetic("GE MEDICAL SYSTEMS")
    assert not is_synthetic("")
