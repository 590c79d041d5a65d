"""A user's CT, from a NIfTI file or a DICOM folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lung_nodule.errors import InputError
from lung_nodule.io.dicom.read_series import only_series, read_series
from lung_nodule.io.dicom.series import Series
from lung_nodule.io.nifti import read_nifti
from lung_nodule.io.volume import Volume
from lung_nodule.lidc import AIR_BELOW_HU

ORTHOGONAL = 1e-3
"""Largest cosine of the angle between two axes of a straight grid."""


@dataclass(frozen=True, eq=False)
class Ct:
    """A user's CT.

    Attributes:
        volume: CT in HU.
        series: DICOM series that it was read from; None for a NIfTI file.
    """

    volume: Volume
    series: Series | None = None


def read_ct(path: str | Path, *, series_uid: str | None = None) -> Ct:
    """Read a CT in HU from a NIfTI file or from a folder that holds a DICOM CT series.

    Args:
        path: path of the file or the folder.
        series_uid: UID of the series, where the folder holds several; a NIfTI file does not say whose series it is.

    Raises:
        InputError: nothing is there, it cannot be read as a CT, or the folder holds several series; the message says
            why.
    """
    path = Path(path)
    if path.is_dir():
        series = read_series(only_series(path, series_uid=series_uid))
        return Ct(series.volume, series)
    if not path.exists():
        raise InputError(f"no such CT: {path} (give a .nii or .nii.gz file, or the folder of a DICOM series)")
    volume = read_nifti(path, placed=True).spatial()
    if volume.data.ndim != 3:
        raise InputError(f"a CT has three axes, {path} has shape {volume.data.shape}")
    axes = volume.affine[:3, :3] / volume.spacing
    if not np.allclose(axes.T @ axes, np.eye(3), atol=ORTHOGONAL):
        raise InputError(
            f"the axes of {path} are not at right angles (a tilted gantry?): resample it on a straight grid"
        )
    return Ct(volume)


def check_hu(ct: Volume, path: str | Path) -> None:
    """Refuse a volume that cannot be a chest CT in HU because it contains no air.

    Raises:
        InputError: nothing lies below -500 HU.
    """
    if not (ct.data < AIR_BELOW_HU).any():
        raise InputError(
            f"{path} holds no voxel below {AIR_BELOW_HU:g} HU (its smallest value is {ct.data.min():g}): "
            "give a chest CT in Hounsfield units, not scaled"
        )
