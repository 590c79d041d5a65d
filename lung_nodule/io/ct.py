"""A CT from wherever a user keeps it."""

from __future__ import annotations

from pathlib import Path

from .dicom import read_series
from .errors import InputError
from .nifti import read_nifti
from .volume import Volume


def read_ct(path: str | Path) -> Volume:
    """Read a CT in HU from a NIfTI file or from a folder that holds exactly one DICOM CT series.

    Raises:
        InputError: nothing is there, or it cannot be read as a CT; the message says why.
    """
    path = Path(path)
    if path.is_dir():
        return read_series(path).volume
    if not path.exists():
        raise InputError(f"no such CT: {path} (give a .nii or .nii.gz file, or the folder of a DICOM series)")
    volume = read_nifti(path)
    if volume.data.ndim != 3:
        raise InputError(f"a CT has three axes, {path} has shape {volume.data.shape}")
    return volume
