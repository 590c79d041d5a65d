"""A DICOM segmentation and a structured report of the nodules found in a DICOM series."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pydicom
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.dicom.library import HIGHDICOM, REFUSALS
from lung_nodule.deployment.dicom.source_headers import source_headers
from lung_nodule.deployment.findings import Finding
from lung_nodule.io import Series, atomic_path
from lung_nodule.io.dicom.quiet import quiet

logger = logging.getLogger(__name__)

SEGMENTATION, REPORT = "nodules_seg.dcm", "nodules_sr.dcm"
"""Names of the DICOM files."""


def write_dicom_results(
    out: Path, findings: Sequence[Finding], series: Series, served: ServedModel, *, usable: bool = True
) -> list[str]:
    """Write ``nodules_seg.dcm`` (for a model that segments) and ``nodules_sr.dcm``, both or neither.

    Args:
        out: output folder.
        findings: findings, with masks in the canonical order of the series' volume.
        series: source series.
        served: served model.
        usable: False if the answers must not be used as results (the model was trained on a phantom or on this
            patient); the series description then says so.

    Returns:
        Warnings: why nothing was written, where the series lacks required attributes; which invalid attributes were
        left empty. They name no value, as it may identify the patient.
    """
    # Imported here because highdicom takes a second to import.
    from lung_nodule.deployment.dicom.segmentation import segmentation_of
    from lung_nodule.deployment.dicom.structured_report import report_of

    note = "research use only" if usable else "NO RESULT, see report.html"
    try:
        with quiet(HIGHDICOM):
            sources, remarks = source_headers(series)
            segmentation = segmentation_of(findings, series, sources, served, note=note)
            report = report_of(findings, series, sources, segmentation, served, note=note)
            _write(out, segmentation, report)
    except REFUSALS as error:
        reason = " ".join(str(error).split())
        remarks = [f"{SEGMENTATION} and {REPORT} are not written, as the CT's DICOM headers cannot be used: {reason}"]
        logger.debug("what was refused", exc_info=True)
    for remark in remarks:
        logger.warning("series %s: %s", series.series_uid, remark)
    return remarks


def remove_earlier_dicom_results(out: Path) -> None:
    """Remove both files of an earlier run."""
    for name in (SEGMENTATION, REPORT):
        (out / name).unlink(missing_ok=True)


def _write(out: Path, segmentation: pydicom.Dataset | None, report: pydicom.Dataset) -> None:
    with atomic_path(out / REPORT) as unfinished:
        report.save_as(unfinished)
        if segmentation is not None:
            with atomic_path(out / SEGMENTATION) as beside:
                segmentation.save_as(beside)
