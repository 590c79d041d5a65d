"""A phantom has the names and UIDs of real scans: real scans are not added to its dataset, nor the reverse."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest

from lung_nodule.errors import InputError
from preprocessing.convert import convert
from preprocessing.dataset import ConversionSettings
from preprocessing.dataset.scan_records import is_synthetic
from tests.preprocessing.conftest import SMALL


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def scanner_root(small_root: Path, tmp_path: Path) -> Path:
    """The small scan under the name of a scanner's manufacturer, with a file first that is no DICOM."""
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
    with pytest.raises(InputError, match=r"holds synthetic scans and these files are real .*GE MEDICAL.*another --out"):
        convert(scanner_root, out, patients=None, workers=1, settings=ConversionSettings())
    assert contents(out) == before


def test_synthetic_scans_are_not_added_to_real_ones(scanner_root: Path, small_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert convert(scanner_root, out, patients=None, workers=1, settings=ConversionSettings()) == []
    assert convert(scanner_root, out, patients=None, workers=1, settings=ConversionSettings()) == []
    with pytest.raises(InputError, match=r"holds real scans and these files are synthetic .*another --out"):
        convert(small_root, out, patients=None, workers=1, settings=ConversionSettings())


def test_what_a_manufacturer_s_name_says() -> None:
    assert is_synthetic("SYNTHETIC PHANTOM")
    assert not is_synthetic("GE MEDICAL SYSTEMS")
    assert not is_synthetic("")
