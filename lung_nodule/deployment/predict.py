"""From a CT and a table of nodules to masks, measurements and a report, through a running server."""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lung_nodule import __version__
from lung_nodule.core import MASK_THRESHOLD
from lung_nodule.deployment.client import NoduleClient, ServedModel
from lung_nodule.deployment.findings import Finding, as_row, make_finding
from lung_nodule.deployment.report import write_report
from lung_nodule.deployment.voi import Voi, cut_voi, edge_mm, paste
from lung_nodule.io import InputError, Volume, check_unique, read_ct, read_table, write_nifti, write_table

LOGGER = logging.getLogger(__name__)
AIR_BELOW_HU = -500
CENTER = ("center_x_ras", "center_y_ras", "center_z_ras")


def predict_ct(
    *,
    ct: str | Path,
    nodules: str | Path,
    out: str | Path,
    url: str,
    model: str = "mtnet",
    keep: Mapping[str, str | None] | None = None,
    note: str = "",
) -> list[Finding]:
    """Ask the server about every nodule of a table and write what it answers.

    Nothing is written before every answer has come.

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
    table = read_nodules(Path(nodules), keep or {})
    with NoduleClient(url, model=model) as client:
        served = client.describe()
        original = read_ct(ct)
        _check_hu(original, Path(ct))
        canonical = original.canonical()
        edge = edge_mm(max(served.field_mm, served.z_field_mm))
        vois = [cut_voi(canonical, row.nodule_id, _center(row), edge_mm=edge) for row in table.itertuples()]
        started = time.monotonic()
        findings = _ask(client, table, vois)
        seconds = time.monotonic() - started
    LOGGER.info("%d nodules answered in %.1f s", len(findings), seconds)
    name = Path(ct).resolve().name
    _write(Path(out), findings, original, canonical, served, name, _settings(served, edge, seconds), note)
    return findings


def read_nodules(path: Path, keep: Mapping[str, str | None]) -> pd.DataFrame:
    """The needed columns of a nodules table; the readers' ratings and masks are left behind.

    Raises:
        InputError: a column is missing, no row is left, rows of several patients or series are mixed, or the ids
            are not unique or not fit for a file name.
    """
    table = read_table(path, required=["nodule_id", *CENTER])
    for column, value in keep.items():
        if value is not None:
            if column not in table.columns:
                raise InputError(f"{path} has no column {column}: leave --{column} out or add it")
            table = table[table[column].astype(str) == str(value)]
            if table.empty:
                raise InputError(f"{path} has no nodule with {column} {value}")
        elif column in table.columns and table[column].nunique() > 1:
            raise InputError(
                f"{path} holds {table[column].nunique()} values of {column}: name the CT's with --{column}"
            )
    if table.empty:
        raise InputError(f"{path} holds no nodule: give one row per nodule")
    check_unique(table["nodule_id"], path)
    return table[["nodule_id", *CENTER]].reset_index(drop=True)


def _check_hu(ct: Volume, path: Path) -> None:
    """Refuse a volume that cannot be a chest CT in HU: there is no air in it."""
    if not (ct.data < AIR_BELOW_HU).any():
        raise InputError(
            f"{path} holds no voxel below {AIR_BELOW_HU} HU (its smallest value is {ct.data.min():g}): give a chest CT "
            "in Hounsfield units, not scaled"
        )


def _center(row: object) -> tuple[float, float, float]:
    return tuple(float(getattr(row, column)) for column in CENTER)


def _ask(client: NoduleClient, table: pd.DataFrame, vois: list[Voi]) -> list[Finding]:
    """The findings in the table's order; the server answers in its own."""
    centers = [_center(row) for row in table.itertuples()]
    findings: dict[int, Finding] = {}
    for index, answer in tqdm(client.ask(vois), total=len(vois), desc="nodules", unit="nodule"):
        findings[index] = make_finding(index + 1, centers[index], vois[index], answer)
    return [findings[index] for index in range(len(vois))]


def _settings(served: ServedModel, edge: float, seconds: float) -> dict[str, str]:
    return {
        "Field": f"{served.field_mm:g} mm in the plane, {served.z_field_mm:g} mm along z",
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
    for earlier in (out / "masks").glob("*.nii.gz"):
        earlier.unlink()
    labels = np.zeros(canonical.shape, dtype=np.uint16)
    for finding in tqdm(findings, desc="masks", unit="nodule"):
        mask = paste(finding.fine.astype(np.uint8), finding.voi.box, canonical, original)
        write_nifti(out / "masks" / f"{finding.nodule_id}.nii.gz", mask)
        region = labels[finding.voi.box]
        if (region[finding.fine] != 0).any():
            LOGGER.warning("nodule %s overlaps an earlier one: the label map keeps the earlier", finding.nodule_id)
        region[finding.fine & (region == 0)] = finding.label
    everywhere = tuple(slice(0, size) for size in canonical.shape)
    write_nifti(out / "nodules.nii.gz", paste(labels, everywhere, canonical, original))
    write_table(out / "nodules.csv", pd.DataFrame([as_row(finding) for finding in findings]))
    now = datetime.now().astimezone()
    write_report(
        out / "report.html", findings, canonical, ct_name=ct_name, model=served, settings=settings, now=now, note=note
    )
    LOGGER.info("written: %s", out / "report.html")
