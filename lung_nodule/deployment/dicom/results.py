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
"""What is written beside the masks of a DICOM series."""
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID")
_KINDS = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}


def write_dicom_results(
    out: Path, findings: Sequence[Finding], series: Series, served: ServedModel, *, usable: bool = True
) -> None:
    """Write ``nodules_seg.dcm`` (of a model that segments) and ``nodules_sr.dcm``, both or none.

    A series that lacks what they need is named in a warning, and nothing is written.

    Args:
        out: the folder.
        findings: the nodules, with masks in the canonical order of the series' volume.
        series: the source.
        served: the model that answered.
        usable: False where the answers are no result (the model saw a phantom, or this patient); the description of
            both then says so.
    """
    # highdicom takes a second to import, which the other commands need not wait for.
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
        logger.warning("no %s and %s, as series %s does not fit: %s", SEGMENTATION, REPORT, series.series_uid, reason)
        logger.debug("what was refused", exc_info=True)


def remove_earlier_dicom_results(out: Path) -> None:
    """Remove both files of an earlier run."""
    for name in (SEGMENTATION, REPORT):
        (out / name).unlink(missing_ok=True)


def source_headers(series: Series) -> list[pydicom.Dataset]:
    """The attributes of the series' slices, in ascending order along the normal, without pixels.

    Attributes that may be empty by the standard, but that are missing, as anonymised series have it, are empty. A
    missing SliceThickness is the distance of the slices.

    Raises:
        InputError: an attribute without which nothing can refer to a slice is missing, or a date is none.
    """
    headers = []
    with config.disable_value_validation():  # pydicom would warn of an odd value in every slice
        for path in series.paths:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            for name in _MAY_BE_EMPTY:
                if name not in header:
                    setattr(header, name, "")
            if not header.get("SliceThickness"):
                header.SliceThickness = round(series.grid.spacing, 6)  # what a plane of the masks stands for
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
