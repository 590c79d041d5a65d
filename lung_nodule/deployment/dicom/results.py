"""A DICOM segmentation and a structured report of the nodules found in a DICOM series."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pydicom
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.dicom.library import REFUSALS, quiet
from lung_nodule.deployment.findings import Finding
from lung_nodule.errors import InputError
from lung_nodule.io import Series, atomic_path
from pydicom import config
from pydicom.valuerep import DA, TM

logger = logging.getLogger(__name__)

SEGMENTATION, REPORT = "nodules_seg.dcm", "nodules_sr.dcm"
"""Names of the DICOM files."""
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID")
_KINDS = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}


def write_dicom_results(
    out: Path, findings: Sequence[Finding], series: Series, served: ServedModel, *, usable: bool = True
) -> None:
    """Write ``nodules_seg.dcm`` (for a model that segments) and ``nodules_sr.dcm``, both or neither.

    If the series lacks required attributes, a warning is logged and nothing is written.

    Args:
        out: output folder.
        findings: findings, with masks in the canonical order of the series' volume.
        series: source series.
        served: served model.
        usable: False if the answers must not be used as results (the model was trained on a phantom or on this
            patient); the series description then says so.
    """
    # Imported here because highdicom takes a second to import.
    from lung_nodule.deployment.dicom.segmentation import segmentation_of
    from lung_nodule.deployment.dicom.structured_report import report_of

    note = "research use only" if usable else "NO RESULT, see report.html"
    try:
        with quiet():
            sources = source_headers(series)
            segmentation = segmentation_of(findings, series, sources, served, note=note)
            report = report_of(findings, series, sources, segmentation, served, note=note)
            _write(out, segmentation, report)
    except REFUSALS as error:
        reason = " ".join(str(error).split())
        logger.warning(
            "%s and %s not written, series %s cannot be used: %s", SEGMENTATION, REPORT, series.series_uid, reason
        )
        logger.debug("what was refused", exc_info=True)


def remove_earlier_dicom_results(out: Path) -> None:
    """Remove both files of an earlier run."""
    for name in (SEGMENTATION, REPORT):
        (out / name).unlink(missing_ok=True)


def source_headers(series: Series) -> list[pydicom.Dataset]:
    """Headers of the series' slices without pixels, in ascending order along the normal.

    Missing type 2 attributes, as in anonymised series, are set to empty values. A missing SliceThickness is set to the
    slice spacing.

    Raises:
        InputError: an attribute that is needed to refer to a slice is missing, or a date is invalid.
    """
    headers = []
    with config.disable_value_validation():  # else pydicom warns of an unusual value in every slice
        for path in series.paths:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            for name in _MAY_BE_EMPTY:
                if name not in header:
                    setattr(header, name, "")
            if not header.get("SliceThickness"):
                header.SliceThickness = round(series.grid.spacing, 6)  # of the volume's planes
            _check(header, path)
            headers.append(header)
    return headers


def _check(header: pydicom.Dataset, path: Path) -> None:
    for name in _NEEDED:
        if not header.get(name):
            raise InputError(f"{path} lacks the attribute {name}")
    for name, kind in _KINDS.items():
        try:
            kind(header.get(name))
        except ValueError:
            raise InputError(f"{path}: the value of {name} is not valid: correct it") from None


def _write(out: Path, segmentation: pydicom.Dataset | None, report: pydicom.Dataset) -> None:
    with atomic_path(out / REPORT) as unfinished:
        report.save_as(unfinished)
        if segmentation is not None:
            with atomic_path(out / SEGMENTATION) as beside:
                segmentation.save_as(beside)
