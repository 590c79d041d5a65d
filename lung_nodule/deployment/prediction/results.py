"""Files of a prediction: masks, table, report, DICOM results and ``nodules.json``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from lung_nodule import __version__
from lung_nodule.core import MASK_THRESHOLD
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.dicom.results import REPORT, SEGMENTATION, remove_earlier_dicom_results, write_dicom_results
from lung_nodule.deployment.findings import Finding, as_row
from lung_nodule.deployment.prediction.case import Case
from lung_nodule.deployment.prediction.explain import write_occlusions
from lung_nodule.deployment.prediction.manifest import JSON, manifest
from lung_nodule.deployment.prediction.patients import invalidating_warnings, mismatch_warnings
from lung_nodule.deployment.report.report import write_report
from lung_nodule.io import (
    LABELS,
    TABLE,
    Ct,
    ScanMasks,
    Volume,
    mask_path,
    occlusion_path,
    printable,
    remove_earlier_masks,
    write_json,
    write_table,
)
from tqdm import tqdm

logger = logging.getLogger(__name__)

HTML = "report.html"
OUTPUTS = (JSON, HTML, SEGMENTATION, REPORT)


@dataclass(frozen=True)
class Results:
    """Findings of a case and what the report says of their origin.

    Attributes:
        case: case.
        ct: CT as it was read.
        model: served model.
        findings: findings in the order of the table.
        patients: identifiers of the patient.
        seconds: time of all requests in seconds.
        remarks: further warnings for the report.
    """

    case: Case
    ct: Ct
    model: ServedModel
    findings: Sequence[Finding]
    patients: Sequence[str]
    seconds: float
    remarks: Sequence[str] = ()


def write_results(out: Path, results: Results) -> None:
    """Write all files of a prediction; an earlier one is removed first.

    ``nodules.csv``, by which a folder is known to hold a prediction, is written first, ``nodules.json`` last.
    """
    case, ct, model, findings = results.case, results.ct, results.model, results.findings
    invalid = invalidating_warnings(model, results.patients)
    warnings = [*invalid, *mismatch_warnings(results.patients), *results.remarks]
    now = datetime.now().astimezone()
    for name in (JSON, HTML):
        (out / name).unlink(missing_ok=True)
    remove_earlier_masks(out)
    remove_earlier_dicom_results(out)
    write_table(out / TABLE, pd.DataFrame([as_row(finding) for finding in findings]))
    _write_masks(out, findings, ct.volume)
    write_occlusions(out, findings, ct.volume.grid)
    if case.options.dicom_results and ct.series is not None:
        warnings += write_dicom_results(out, findings, ct.series, model, usable=not invalid)
    write_report(
        out / HTML,
        findings,
        ct.volume.canonical(),
        ct_name=printable(case.ct.resolve().name),
        model=model,
        settings=_settings(model, results.seconds) | _remarks(ct),
        now=now,
        notes=[*warnings, case.options.note],
        scan=_scan(ct),
    )
    record = manifest(
        findings,
        model=model,
        ct=ct,
        ct_path=case.ct,
        nodules_path=case.nodules,
        options=case.recorded_options(),
        files=_output_files(out, findings),
        warnings=warnings,
        now=now,
    )
    write_json(out / JSON, record)
    logger.info("written: %s", out / HTML)


def _settings(served: ServedModel, seconds: float) -> dict[str, str]:
    text = served.parameters
    told = {
        "Methods": text.get("methods", ""),
        "Patch": f"{text['patch_mm']} mm" if "patch_mm" in text else "",
        "Image size": f"{text['image_size']} pixels along an edge" if "image_size" in text else "",
        "HU window of the model": " to ".join(text.get("window", "").split()),
        "Volume of interest sent": f"{served.edge_mm():g} mm cube or more, native voxels",
        "Mask threshold": f"probability {MASK_THRESHOLD:g}, the component at the given centre, or nearest to it",
        "Time": f"{seconds:.1f} s for all nodules, transfer included",
        "Software": f"lung_nodule {__version__}",
    }
    return {name: value for name, value in told.items() if value}


def _scan(ct: Ct) -> dict[str, str]:
    """Patient, study date and UID of a DICOM series, for the report."""
    if ct.series is None:
        return {}
    series = ct.series
    found = {"Patient": series.patient_id, "Study date": series.study_date, "Series UID": series.series_uid}
    return {name: value for name, value in found.items() if value}


def _remarks(ct: Ct) -> dict[str, str]:
    """Remarks on a DICOM series, such as padding or missing slices, for the log and the report."""
    remarks = {} if ct.series is None else ct.series.remarks
    for name, remark in remarks.items():
        logger.info("%s: %s", name, remark)
    return {f"Series, {name.replace('_', ' ')}": remark for name, remark in remarks.items()}


def _output_files(out: Path, findings: Sequence[Finding]) -> list[str]:
    masks = [mask_path(finding.nodule_id) for finding in findings if finding.mask is not None]
    results = [LABELS] if masks else []
    dicom = [name for name in (SEGMENTATION, REPORT) if (out / name).is_file()]
    maps = [occlusion_path(finding.nodule_id) for finding in findings if finding.occlusion is not None]
    return [TABLE, HTML, *results, *masks, *maps, *dicom]


def _write_masks(out: Path, findings: Sequence[Finding], original: Volume) -> None:
    """Write masks on the original grid of the CT; nothing for a model that does not segment."""
    masks = ScanMasks(out, original.grid)
    segmented = [finding for finding in findings if finding.mask is not None]
    for finding in tqdm(segmented, desc="masks", unit="nodule", leave=None):
        assert finding.mask is not None
        masks.add(finding.nodule_id, finding.label, finding.mask, finding.voi.box)
    if segmented:
        masks.write()
