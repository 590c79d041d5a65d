"""From a CT and a table of nodules to masks, measurements and a report, through a running server."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
from lung_nodule import __version__
from lung_nodule.core import MASK_THRESHOLD
from lung_nodule.deployment.client import NoduleClient, ServedModel
from lung_nodule.deployment.findings import Finding, as_row, make_finding
from lung_nodule.deployment.report import write_report
from lung_nodule.io import (
    TABLE,
    ScanMasks,
    Voi,
    Volume,
    center_of,
    check_hu,
    cut_voi,
    read_ct,
    read_nodules,
    refuse_own_input,
    remove_earlier_masks,
    voi_edge_mm,
    write_table,
)
from tqdm import tqdm

logger = logging.getLogger(__name__)


def predict_ct(
    *,
    ct: str | Path,
    nodules: str | Path,
    out: str | Path,
    url: str,
    model: str = "mtnet",
    keep: Mapping[str, str | int | None] | None = None,
    note: str = "",
) -> list[Finding]:
    """Ask the server about every nodule of a table and write its answers.

    Nothing is written before all answers have arrived.

    Args:
        ct: NIfTI file in HU, or folder of one DICOM series.
        nodules: table with ``nodule_id`` and the centre in world coordinates (RAS, mm).
        out: folder to write to.
        url: ``host:port`` of the server's gRPC endpoint.
        model: name of the ensemble.
        keep: column -> the value whose rows are taken (``patient_id``, ``series_uid``); None takes all.
        note: what else the report's reader must know, such as that the CT is synthetic.

    Raises:
        InputError: a table, CT or server that cannot be used; the message says why.
    """
    table, keep = read_nodules(nodules, keep=keep, series_of=ct), keep or {}
    refuse_own_input(nodules, out)
    with NoduleClient(url, model=model) as client:
        served = client.describe()
        series_uid = keep.get("series_uid")
        original = read_ct(ct, series_uid=None if series_uid is None else str(series_uid))
        check_hu(original, ct)
        canonical = original.canonical()
        edge = voi_edge_mm(max(served.patch_mm, served.z_patch_mm))
        rows = table.to_dict("records")
        vois = [cut_voi(canonical, row["nodule_id"], center_of(row), edge_mm=edge) for row in rows]
        started = time.monotonic()
        findings = _ask(client, [center_of(row) for row in rows], vois)
        seconds = time.monotonic() - started
    logger.info("%d nodules answered in %.1f s", len(findings), seconds)
    name = Path(ct).resolve().name
    _write(Path(out), findings, original, canonical, served, name, _settings(served, edge, seconds), note)
    return findings


def _ask(client: NoduleClient, centers: Sequence[Sequence[float]], vois: list[Voi]) -> list[Finding]:
    """The findings in the table's order; the server answers in its own."""
    findings: dict[int, Finding] = {}
    for index, answer in tqdm(client.ask(vois), total=len(vois), desc="nodules", unit="nodule"):
        findings[index] = make_finding(index + 1, centers[index], vois[index], answer)
    return [findings[index] for index in range(len(vois))]


def _settings(served: ServedModel, edge: float, seconds: float) -> dict[str, str]:
    return {
        "Patch": f"{served.patch_mm:g} mm in the plane, {served.z_patch_mm:g} mm along z",
        "Image size": f"{served.image_size} by {served.image_size} pixels",
        "HU window of the model": f"{served.window[0]:g} to {served.window[1]:g} HU",
        "Volume of interest sent": f"{edge:g} mm cube, native voxels",
        "Mask threshold": f"probability {MASK_THRESHOLD:g}, the component at the given centre, or nearest to it",
        "Time": f"{seconds:.1f} s for all nodules, transfer included",
        "Software": f"lung_nodule {__version__}",
    }


def _write(
    out: Path,
    findings: list[Finding],
    original: Volume,
    canonical: Volume,
    served: ServedModel,
    ct_name: str,
    settings: Mapping[str, str],
    note: str,
) -> None:
    remove_earlier_masks(out)
    masks = ScanMasks(out, original.grid)
    for finding in tqdm(findings, desc="masks", unit="nodule"):
        masks.add(finding.nodule_id, finding.label, finding.fine, finding.voi.box)
    masks.write()
    write_table(out / TABLE, pd.DataFrame([as_row(finding) for finding in findings]))
    now = datetime.now().astimezone()
    write_report(
        out / "report.html", findings, canonical, ct_name=ct_name, model=served, settings=settings, now=now, note=note
    )
    logger.info("written: %s", out / "report.html")
