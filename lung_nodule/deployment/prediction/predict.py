"""Predict the nodules of a CT with a running server; write masks, measurements and a report."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.core import check_diameter
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.findings import Finding, make_finding
from lung_nodule.deployment.nodules.label_map import TRACKING
from lung_nodule.deployment.nodules.sources import other_image_warnings, read_nodule_source
from lung_nodule.deployment.prediction.case import Case
from lung_nodule.deployment.prediction.explain import add_occlusion_maps
from lung_nodule.deployment.prediction.patients import named_patient, patients_of
from lung_nodule.deployment.prediction.results import OUTPUTS, Results, write_results
from lung_nodule.errors import InputError
from lung_nodule.io import Ct, center_of, check_hu, cut_voi, read_ct, refuse_own_input, slice_numbers, unpack
from lung_nodule.runtime.lock import only_writer
from tqdm import tqdm

logger = logging.getLogger(__name__)

SERIES = "series_uid"


def predict_ct(
    case: Case, out: str | Path, *, url: str, model: str | None = None, connection: Mapping[str, Any] | None = None
) -> list[Finding]:
    """Predict every nodule of a CT and write the results.

    Nothing is written before all answers have arrived.

    Args:
        case: CT, nodules and options.
        out: output folder.
        url: server address, as in :class:`~lung_nodule.deployment.client.NoduleClient`.
        model: name of the served model; None for the panel of all methods, or else the server's only ensemble.
        connection: further options of the client, such as ``retries``.

    Raises:
        InputError: the table, CT or server cannot be used.
    """
    with NoduleClient(url, model=model, **(connection or {})) as client:
        return predict_case(client, case, Path(out))


def predict_case(client: NoduleClient, case: Case, out: Path) -> list[Finding]:
    """Predict a case with an existing client; ``nodules.json`` is written last.

    Args:
        client: client of the server.
        case: case to predict.
        out: output folder.

    Raises:
        InputError: as :func:`predict_ct`; or the server was given other models while it answered.
    """
    with unpack(case.ct) as source, only_writer(out):
        read_once = functools.cache(lambda: read_ct(source, series_uid=case.series_uid))
        table = _nodules(case, read_once)
        for given in (case.ct, case.nodules):
            refuse_own_input(given, out, others=OUTPUTS, nodule_ids=table["nodule_id"])
        served = client.describe(again=True)
        ct = read_once()
        check_hu(ct.volume, case.ct)
        _refuse_other_series(table, ct, case)
        started = time.monotonic()
        findings = _ask(client, table, ct, served)
        seconds = time.monotonic() - started
        logger.info("%d nodules predicted by %s in %.1f s", len(findings), served.name, seconds)
        findings = add_occlusion_maps(client, findings) if case.options.explain else findings
        if client.describe(again=True) != served:
            raise InputError("the server was given other models while it answered: run the same command again")
        patients = patients_of(named_patient(case.patient_id, table), ct)
        remarks = other_image_warnings(table, case.ct)
        write_results(out, Results(case, ct, served, findings, patients, seconds, remarks))
    return findings


def _nodules(case: Case, read_once: Callable[[], Ct]) -> pd.DataFrame:
    """The case's nodules; the CT is read only if their source refers to its series."""
    return read_nodule_source(
        case.nodules,
        keep={"patient_id": case.patient_id, "series_uid": case.series_uid},
        series_of=case.ct,
        threshold=case.options.threshold,
        series=lambda: read_once().series,
    )


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


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else ""


def _ask(client: NoduleClient, table: pd.DataFrame, ct: Ct, served: ServedModel) -> list[Finding]:
    """Cut and send all VOIs and return the findings in the order of the table."""
    canonical, numbers, rows = ct.volume.canonical(), slice_numbers(ct), table.to_dict("records")
    diameters = [_diameter(row) for row in rows]
    vois = [
        cut_voi(canonical, row["nodule_id"], center_of(row), edge_mm=served.edge_mm(diameter))
        for row, diameter in zip(rows, diameters, strict=True)
    ]
    findings: dict[int, Finding] = {}
    for index, answer in tqdm(client.ask(vois, diameters), total=len(vois), desc="nodules", unit="nodule", leave=None):
        finding = make_finding(index + 1, center_of(rows[index]), vois[index], answer)
        findings[index] = replace(finding, numbers=numbers, tracking_uid=_text(rows[index].get(TRACKING)))
    return [findings[index] for index in range(len(vois))]
