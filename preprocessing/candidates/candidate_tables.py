"""The tables of ``candidates/``, their description and manifest."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lung_nodule.holdout import HOLDOUT
from lung_nodule.io import write_json, write_table
from lung_nodule.runtime.software import this_software
from preprocessing.candidates.candidate_scan import FOLDER, Record, candidate_id, voi_path
from preprocessing.candidates.candidate_settings import CandidateSettings
from preprocessing.candidates.luna16_tables import CENTER, Source
from preprocessing.dataset.manifest import write_manifest

logger = logging.getLogger(__name__)

SPACING = ["spacing_x_mm", "spacing_y_mm", "spacing_z_mm"]
CANDIDATE_COLUMNS = [
    "candidate_id", "patient_id", "series_uid", "scan", "subset", "fold", "label", *CENTER,
    "slice_thickness_mm", *SPACING, "ct", "voi", "finding_id",
]  # fmt: skip
FINDING_COLUMNS = [
    "finding_id", "patient_id", "series_uid", "scan", "subset", "fold", *CENTER, "diameter_mm", "excluded",
]  # fmt: skip
SCAN_COLUMNS = ["scan", "patient_id", "series_uid", "subset", "fold", "candidates", "nodules", "ct"]
LEFT_OUT_COLUMNS = ["series_uid", "candidates", "nodules", "reason"]


def write_folder(
    dataset: Path,
    scans: pd.DataFrame,
    chosen: pd.DataFrame,
    source: Source,
    *,
    records: Mapping[str, Record],
    refused: Mapping[str, str],
    settings: CandidateSettings,
) -> dict[str, int]:
    """Write the tables, candidates.json and MANIFEST.sha256 from the records of all scans.

    Args:
        dataset: folder of the dataset.
        scans: all scans of the dataset.
        chosen: scans with a subset, with ``subset`` and ``fold``.
        source: LUNA16's tables.
        records: records of the scans whose candidates are written, by name.
        refused: reasons for the other scans, by name.
        settings: settings of the files.

    Returns:
        Counts: scans, candidates, nodules, VOIs, and what was left out.
    """
    out = dataset / FOLDER
    used = chosen[chosen["scan"].isin(list(records))].reset_index(drop=True)
    findings = _findings(used, source.findings)
    parts = [_scan_candidates(scan, source, records[str(scan.scan)], findings) for scan in used.itertuples()]
    candidates = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CANDIDATE_COLUMNS)
    left_out = _left_out(scans, chosen, source, records=records, refused=refused)
    tables = {
        "candidates": candidates,
        "nodules": findings,
        "scans": _scan_table(used, candidates, findings),
        "left_out": left_out,
    }
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table)
        write_table(out / f"{name}.parquet", table)
    counts = {
        "scans": len(used),
        "holdout scans": int((used["fold"] == HOLDOUT).sum()),
        "candidates": len(candidates),
        "of nodules": int((candidates["label"] == 1).sum()),
        "annotated nodules": int((findings["excluded"] == 0).sum()),
        "excluded findings": int((findings["excluded"] == 1).sum()),
        "VOIs": int((candidates["voi"] != "").sum()),
        "candidates left out": int(left_out["candidates"].sum()),
        "labels against the annotations": _contradictions(candidates, findings),
    }
    _log_left_out(left_out, out)
    write_json(out / "candidates.json", _description(dataset, settings, source, counts))
    _write_manifest(dataset, records, tables)
    return counts


def _scan_candidates(scan: Any, source: Source, record: Record, findings: pd.DataFrame) -> pd.DataFrame:
    """A row per candidate inside the CT, in the order of LUNA16's table."""
    rows = source.candidates_of(scan.series_uid)
    rows = rows[~rows["row"].isin(record["outside"])]
    drawn = set(record["drawn"])
    own = findings[findings["scan"] == scan.scan]
    return pd.DataFrame(
        {
            "candidate_id": [candidate_id(scan.scan, row) for row in rows["row"]],
            "patient_id": scan.patient_id,
            "series_uid": scan.series_uid,
            "scan": scan.scan,
            "subset": scan.subset,
            "fold": scan.fold,
            "label": rows["label"].to_numpy(),
            **{name: rows[name].round(4).to_numpy() for name in CENTER},
            "slice_thickness_mm": scan.slice_thickness_mm,
            **dict(zip(SPACING, record["spacing"], strict=True)),
            "ct": scan.ct,
            "voi": [voi_path(scan.scan, row) if row in drawn else "" for row in rows["row"]],
            "finding_id": _hit(rows[CENTER].to_numpy(dtype=float), own),
        },
        columns=CANDIDATE_COLUMNS,
    )


def _hit(centers: np.ndarray, findings: pd.DataFrame) -> list[str]:
    """Id of the nearest finding that contains each centre, annotated nodules first; empty without one."""
    if not len(findings) or not len(centers):
        return [""] * len(centers)
    places = findings[CENTER].to_numpy(dtype=float)
    distance = np.linalg.norm(centers[:, None] - places[None], axis=2)
    hit = distance < findings["diameter_mm"].to_numpy(dtype=float) / 2
    rank = np.where(hit, distance + 1e6 * (findings["excluded"].to_numpy() == 1), np.inf)
    nearest = rank.argmin(axis=1)
    names = findings["finding_id"].to_numpy()
    return [str(names[at]) if hit[row].any() else "" for row, at in enumerate(nearest)]


def _findings(scans: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    merged = findings.merge(scans, on="series_uid", how="inner")
    kind = merged["excluded"].map({0: "n", 1: "x"}) if len(merged) else pd.Series(dtype=str)
    merged["finding_id"] = [
        f"{scan}_{letter}{row:05d}" for scan, letter, row in zip(merged["scan"], kind, merged["row"], strict=True)
    ]
    rounded = merged.astype(dict.fromkeys(CENTER, float)).round(dict.fromkeys(CENTER, 4))
    return rounded.sort_values("finding_id", kind="stable")[FINDING_COLUMNS].reset_index(drop=True)


def _scan_table(scans: pd.DataFrame, candidates: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """Every scan that counts in an evaluation, including those without candidates."""
    nodules = findings.loc[findings["excluded"] == 0, "scan"].value_counts()
    counted = scans.assign(
        candidates=scans["scan"].map(candidates["scan"].value_counts()).fillna(0).astype(int),
        nodules=scans["scan"].map(nodules).fillna(0).astype(int),
    )
    return counted[SCAN_COLUMNS]


def _left_out(
    scans: pd.DataFrame,
    chosen: pd.DataFrame,
    source: Source,
    *,
    records: Mapping[str, Record],
    refused: Mapping[str, str],
) -> pd.DataFrame:
    """A row, with the reason, per series that has candidates, nodules or a subset and is not in the tables."""
    candidates = source.candidates["series_uid"].value_counts()
    nodules = source.findings.loc[source.findings["excluded"] == 0, "series_uid"].value_counts()
    reasons: dict[str, str] = {}
    there = set(scans["series_uid"])
    for series in sorted({*candidates.index, *nodules.index, *source.subsets}):
        if series not in there:
            reasons[series] = "its scan is not in the dataset"
        elif series not in source.subsets:
            reasons[series] = "it is in no subset"
    name_of = dict(zip(chosen["scan"], chosen["series_uid"], strict=True))
    reasons |= {name_of[scan]: reason for scan, reason in refused.items()}
    rows = [
        (series, int(candidates.get(series, 0)), int(nodules.get(series, 0)), reason)
        for series, reason in sorted(reasons.items())
    ]
    outside = {name_of[scan]: len(record["outside"]) for scan, record in records.items() if record["outside"]}
    rows += [(series, count, 0, "their centres lie outside the CT") for series, count in sorted(outside.items())]
    return pd.DataFrame(rows, columns=LEFT_OUT_COLUMNS)


def _log_left_out(left_out: pd.DataFrame, out: Path) -> None:
    for reason, rows in left_out.groupby("reason"):
        logger.warning(
            "left out %d candidates and %d nodules of %d series (%s): %s; all are in %s",
            rows["candidates"].sum(),
            rows["nodules"].sum(),
            len(rows),
            ", ".join(rows["series_uid"].head(3)),
            reason,
            out / "left_out.csv",
        )


def _contradictions(candidates: pd.DataFrame, findings: pd.DataFrame) -> int:
    """Number of candidates whose label disagrees with the annotations; 0 without annotations.

    A high number points to tables in other coordinates.
    """
    if not (findings["excluded"] == 0).any():
        return 0
    annotated = set(findings.loc[findings["excluded"] == 0, "finding_id"])
    wrong = int((candidates["finding_id"].isin(annotated) != (candidates["label"] == 1)).sum())
    if wrong:
        logger.warning("%d candidates' labels disagree with the annotations' radii (LUNA16's labels are kept)", wrong)
    return wrong


def _description(dataset: Path, settings: CandidateSettings, source: Source, counts: dict[str, int]) -> dict[str, Any]:
    described = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    return {
        "name": "LUNA16 candidates",
        "settings": settings.as_dict(),
        "rules": {
            "coordinates": "LUNA16's world coordinates are LPS; x and y change their sign to RAS",
            "label": "LUNA16's class: 1 nodule, 0 not",
            "voi": "the candidates of nodules and `negatives_per_scan` drawn others of each scan; none of the hold-out",
            "fold": "LUNA16's subset; `holdout` for patients of the hold-out; a patient with scans in several subsets "
            "is in the lowest",
            "finding_id": "the nearest finding with the candidate within its radius, annotated nodules first",
        },
        "counts": {name.replace(" ", "_"): count for name, count in counts.items()},
        "annotated": bool(counts["annotated nodules"]),
        "sources": source.files,
        "software": this_software().as_dict(),
        "synthetic_scans": int(described.get("synthetic_scans", 0)),
    }


def _write_manifest(dataset: Path, records: Mapping[str, Record], tables: Mapping[str, pd.DataFrame]) -> None:
    """The manifest of ``candidates/``, with paths relative to it."""
    digests = {
        name.removeprefix(f"{FOLDER}/"): entry["sha256"]
        for record in records.values()
        for name, entry in record["files"].items()
    }
    others = [f"{name}.{kind}" for name in tables for kind in ("csv", "parquet")]
    others += ["candidates.json", *(f"scans/{scan}.json" for scan in records)]
    write_manifest(dataset / FOLDER, digests, others)
