"""The same series through dcm2niix: another program, the same patient space."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from lung_nodule.io import Volume, read_nifti, read_series
from tests.io.dicom_series import UNTILTED, SeriesPlan, axial_corners, telling, write_series
from tests.io.test_dicom import simpleitk_volume

LIDC = Path(__file__).resolve().parents[3] / "shared" / "data" / "lidc_dicom"
ORIENTATIONS = {
    "standard": UNTILTED,
    "flipped in the plane": (-1, 0, 0, 0, -1, 0),
    "mirrored in the plane": (-1, 0, 0, 0, 1, 0),
    "turned by 90 degrees in the plane": (0, 1, 0, -1, 0, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.6, 0.8, 0),
}


def dcm2niix_volume(folder: Path, out: Path) -> Volume:
    """The series as dcm2niix writes it."""
    program = pytest.importorskip("dcm2niix").bin
    out.mkdir()
    subprocess.run([program, "-z", "n", "-f", "ct", "-o", str(out), str(folder)], check=True, capture_output=True)
    (written,) = out.glob("*.nii")
    return read_nifti(written)


def assert_same_space(ours: Volume, theirs: Volume) -> None:
    ours, theirs = ours.canonical(), theirs.canonical()
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)
    tissue = theirs.data > -1024
    np.testing.assert_array_equal(ours.data[tissue], theirs.data[tissue])


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_written_series(tmp_path: Path, name: str) -> None:
    orientation = ORIENTATIONS[name]
    normal = np.cross(orientation[:3], orientation[3:])
    corners = [np.array([-20.0, -30.0, 5.0]) + z * normal for z in (10.0, 12.5, 15.0, 17.5, 20.0)]
    plan = SeriesPlan(corners=corners, stored=telling((16, 20)), orientation=orientation)
    write_series(tmp_path / "dicom", plan)
    assert_same_space(read_series(tmp_path / "dicom").volume, dcm2niix_volume(tmp_path / "dicom", tmp_path / "out"))


def test_odd_number_formats(tmp_path: Path) -> None:
    odd = ("006.054690e-01", "006.054690e-01")
    plan = SeriesPlan(corners=axial_corners([10.0, 12.5, 15.0]), stored=telling((16, 20)), pixel_spacing=odd)
    write_series(tmp_path / "dicom", plan)
    ours = read_series(tmp_path / "dicom").volume
    assert_same_space(ours, dcm2niix_volume(tmp_path / "dicom", tmp_path / "out"))
    assert_same_space(ours, simpleitk_volume(tmp_path / "dicom"))


@pytest.mark.slow
@pytest.mark.parametrize("patient", ["LIDC-IDRI-0006", "LIDC-IDRI-0013"])
def test_real_series(patient: str, tmp_path: Path) -> None:
    folders = sorted((LIDC / patient).glob("*/*"))
    if not folders:
        pytest.skip(f"the real series is not at {LIDC}")
    assert_same_space(read_series(folders[0]).volume, dcm2niix_volume(folders[0], tmp_path / "out"))
