"""Headers of the source slices as highdicom takes them: empty values allowed, geometry of the volume."""

from __future__ import annotations

import numpy as np
import pydicom
from lung_nodule.errors import InputError
from lung_nodule.io import LPS_TO_RAS, Series
from pydicom import config
from pydicom.valuerep import DA, TM, format_number_as_ds

_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID")
_KINDS = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}
_SEXES = ("", "M", "F", "O")
_DECIMALS = 6


def source_headers(series: Series) -> tuple[list[pydicom.Dataset], list[str]]:
    """Headers of the series' slices without pixels, in ascending order along the normal.

    Type 2 attributes that are missing, as in anonymised series, or not valid are set to empty values. Orientation and
    SpacingBetweenSlices are those of the volume, so that what refers to the slices lies on its grid; slices that are
    not evenly spaced get no SpacingBetweenSlices. A missing SliceThickness is set to the slice spacing.

    Returns:
        The headers, and a remark on every attribute whose value was not valid.

    Raises:
        InputError: an attribute that is needed to refer to a slice is missing.
    """
    headers: list[pydicom.Dataset] = []
    emptied: dict[str, None] = {}
    orientation = _orientation(series)
    with config.disable_value_validation():  # else pydicom warns of an unusual value in every slice
        for path in series.paths:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            _require(header)
            emptied |= dict.fromkeys(_empty_invalid(header))
            header.ImageOrientationPatient = orientation
            _set_spacing(header, series)
            headers.append(header)
    remarks = [f"{name} of the CT is not valid and is left empty in the DICOM results." for name in emptied]
    return headers, remarks


def _require(header: pydicom.Dataset) -> None:
    for name in _NEEDED:
        if not header.get(name):
            raise InputError(f"a slice lacks the attribute {name}")


def _empty_invalid(header: pydicom.Dataset) -> list[str]:
    """Set missing and invalid attributes to empty values; the names of the invalid ones."""
    invalid = [name for name in _MAY_BE_EMPTY if name in header and not _is_valid(name, header.get(name))]
    for name in _MAY_BE_EMPTY:
        if name not in header or name in invalid:
            setattr(header, name, "")
    return invalid


def _is_valid(name: str, value: object) -> bool:
    if name == "PatientSex":
        return (value or "") in _SEXES
    try:
        _KINDS.get(name, lambda _: None)(value)
    except ValueError:
        return False
    return True


def _orientation(series: Series) -> list[str]:
    """ImageOrientationPatient of the volume: the directions of a row and of a column, at right angles."""
    axes = (LPS_TO_RAS @ series.volume.affine)[:3, :2]  # its own inverse
    return [format_number_as_ds(float(value)) for value in (axes / np.linalg.norm(axes, axis=0)).T.ravel()]


def _set_spacing(header: pydicom.Dataset, series: Series) -> None:
    spacing = round(series.grid.spacing, _DECIMALS)
    header.SliceThickness = header.get("SliceThickness") or spacing
    if series.grid.is_slices:
        header.SpacingBetweenSlices = spacing
    elif "SpacingBetweenSlices" in header:
        del header.SpacingBetweenSlices
