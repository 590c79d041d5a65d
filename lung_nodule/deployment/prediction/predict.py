"""Predict the nodules of a CT with a running server; write masks, measurements and a report."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule import __version__
from lung_nodule.core import MASK_THRESHOLD, check_diameter
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.dicom.results import REPORT, SEGMENTATION, remove_earlier_dicom_results, write_dicom_results
from lung_nodule.deployment.findings import Finding, as_row, make_finding
from lung_nodule.deployment.nodules.sources import SMALLEST_SCORE, read_nodule_source
from lung_nodule.deployment.prediction.explain import add_occlusion_maps, write_occlusions
from lung_nodule.deployment.prediction.manifest import JSON, Options, manifest
from lung_nodule.deployment.prediction.patients import (
    invalidating_warnings,
    mismatch_warnings,
    named_patient,
    patients_of,
)
from lung_nodule.deployment.report.report import write_report
from lung_nodule.errors import InputError
from lung_nodule.io import (
    LABELS,
    TABLE,
    Ct,
    ScanMasks,
    Voi,
    Volume,
    center_of,
    check_hu,
    cut_voi,
    mask_path,
    occlusion_path,
    read_ct,
    refuse_own_input,
    remove_earlier_masks,
    slice_numbers,
    unpack,
    write_json,
    write_table,
)
from lung_nodule.runtime.lock import only_writer
from tqdm import tqdm

logger = logging.getLogger(__name__)

HTML = "report.html"
SERIES = "series_uid"


@dataclass(frozen=True)
class Case:
    """A CT, its nodules and the options of the prediction.

    Attributes:
        ct: NIfTI file in HU, or the folder or zip of a DICOM series.
        nodules: table with ``nodule_id`` and the centre in world coordinates (RAS, mm), or another source of
            :func:`~lung_nodule.deployment.nodules.sources.read_nodule_source`; a diameter, if given, is sent
            to a model that takes one.
        patient_id: use only this patient's rows of a table.
        series_uid: use only this series' rows of a table, and this series of a folder or zip.
        threshold: minimum score of a detection.
        note: note for the report, such as that the CT is synthetic.
        dicom_results: whether to write a DICOM segmentation and structured report for a DICOM series.
        explain: whether to compute occlusion maps, with up to 125 further requests per nodule.
    """

    ct: Path
    nodules: Path
    patient_id: str | None = None
    series_uid: str | None = None
    threshold: float = SMALLEST_SCORE
    note: str = ""
    dicom_results: bool = True
    explain: bool = False

    @property
    def options(self) -> Options:
        """All fields except the two inputs."""
        return {key: value for key, value in vars(self).items() if key not in ("ct", "nodules")}


def predict_ct(
    *,
    ct: str | Path,
    nodules: str | Path,
    out: str | Path,
    url: str,
    model: str | None = None,
    keep: Mapping[str, str | int | None] | None = None,
    threshold: float = SMALLEST_SCORE,
    note: str = "",
    dicom_results: bool = True,
    explain: bool = False,
    connection: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Predict every nodule of a CT and write the results.

    Nothing is written before all answers have arrived.

    Args:
        ct: CT, as in :class:`Case`.
        nodules: source of the nodules, as in :class:`Case`.
        out: output folder.
        url: server address, as in :class:`~lung_nodule.deployment.client.NoduleClient`.
        model: name of the served model; None for the panel of all methods, or else the server's only ensemble.
        keep: ``patient_id`` and ``series_uid``, if given.
        threshold: minimum score of a detection.
        note: note for the report.
        dicom_results: whether to write the DICOM files.
        explain: whether to compute occlusion maps.
        connection: further options of the client, such as ``retries``.

    Raises:
        InputError: the table, CT or server cannot be used.
    """
    chosen = {key: None if value is None else str(value) for key, value in (keep or {}).items()}
    case = Case(
        Path(ct), Path(nodules), **chosen, threshold=threshold, note=note, dicom_results=dicom_results, explain=explain
    )
    with NoduleClient(url, model=model, **(connection or {})) as client:
        return predict_case(client, case, Path(out))


def predict_case(client: NoduleClient, case: Case, out: Path) -> list[Finding]:
    """Predict a case with an existing client; ``nodules.json`` is written last.

    Args:
        client: client of the server.
        case: case to predict.
        out: output folder.

    Raises:
        InputError: as :func:`predict_ct`.
    """
    with unpack(case.ct) as source, only_writer(out):
        read_once = functools.cache(lambda: read_ct(source, series_uid=case.series_uid))
        keep = {"patient_id": case.patient_id, "series_uid": case.series_uid}
        table = read_nodule_source(
            case.nodules, keep=keep, series_of=case.ct, threshold=case.threshold, series=lambda: read_once().series
        )
        for given in (case.ct, case.nodules):
            refuse_own_input(given, out, others=[JSON, HTML, SEGMENTATION, REPORT])
        served = client.describe()
        read = read_once()
        check_hu(read.volume, case.ct)
        _refuse_other_series(table, read, case)
        canonical = read.volume.canonical()
        rows = table.to_dict("records")
        diameters = [_diameter(row) for row in rows]
        vois = [
            cut_voi(canonical, row["nodule_id"], center_of(row), edge_mm=served.edge_mm(diameter))
            for row, diameter in zip(rows, diameters, strict=True)
        ]
        started = time.monotonic()
        findings = _ask(client, [center_of(row) for row in rows], vois, diameters)
        seconds = time.monotonic() - started
        logger.info("%d nodules predicted by %s in %.1f s", len(findings), served.name, seconds)
        numbers = slice_numbers(read)
        findings = [replace(finding, numbers=numbers) for finding in findings]
        findings = add_occlusion_maps(client, findings) if case.explain else findings
        patients = patients_of(named_patient(case.patient_id, table), read)
        _write(out, findings, case, read, canonical, served, seconds, patients)
    return findings


def _refuse_other_series(table: pd.DataFrame, ct: Ct, case: Case) -> None:
    """Raise InputError where a table names another series than the CT's."""
    named = table[SERIES].dropna().unique() if SERIES in table and ct.series is not None else []
    if len(named) and ct.series is not None and str(named[0]) != ct.series.series_uid:
        raise InputError(
            f"{case.nodules} holds the nodules of series {named[0]}, and {case.ct} is series {ct.series.series_uid}: "
            "give the table of this CT"
        )


def _diameter(row: Mapping[Any, Any]) -> float | None:
    """Declared diameter of a row in mm; None if there is none."""
    value = float(row.get("diameter_mm", math.nan))
    if math.isnan(value):
        return None
    try:
        check_diameter(value)
    except ValueError as error:
        raise InputError(f"nodule {row['nodule_id']}: {error}") from None
    return value


def _ask(
    client: NoduleClient, centers: Sequence[Sequence[float]], vois: Sequence[Voi], diameters: Sequence[float | None]
) -> list[Finding]:
    """Send all VOIs and return the findings in the order of the table."""
    findings: dict[int, Finding] = {}
    for index, answer in tqdm(client.ask(vois, diameters), total=len(vois), desc="nodules", unit="nodule", leave=None):
        findings[index] = make_finding(index + 1, centers[index], vois[index], answer)
    return [findings[index] for index in range(len(vois))]


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


def _write(
    out: Path,
    findings: list[Finding],
    case: Case,
    read: Ct,
    canonical: Volume,
    served: ServedModel,
    seconds: float,
    patients: Sequence[str],
) -> None:
    """Write all files of a prediction; an earlier prediction is removed first."""
    warnings, mixed = invalidating_warnings(served, patients), mismatch_warnings(patients)
    now = datetime.now().astimezone()
    (out / JSON).unlink(missing_ok=True)
    remove_earlier_masks(out)
    remove_earlier_dicom_results(out)
    _write_masks(out, findings, read.volume)
    write_occlusions(out, findings, read.volume.grid)
    write_table(out / TABLE, pd.DataFrame([as_row(finding) for finding in findings]))
    settings = _settings(served, seconds) | _remarks(read)
    write_report(
        out / HTML,
        findings,
        canonical,
        ct_name=case.ct.resolve().name,
        model=served,
        settings=settings,
        now=now,
        notes=[*warnings, *mixed, case.note],
        scan=_scan(read),
    )
    if case.dicom_results and read.series is not None:
        write_dicom_results(out, findings, read.series, served, usable=not warnings)
    record = manifest(
        findings,
        model=served,
        ct=read,
        ct_path=case.ct,
        nodules_path=case.nodules,
        options=case.options,
        files=_output_files(out, findings),
        warnings=[*warnings, *mixed],
        now=now,
    )
    write_json(out / JSON, record)
    logger.info("written: %s", out / HTML)


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
