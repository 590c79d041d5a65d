"""``metrics.json`` of a nodule-or-not evaluation: candidates' AUC and, with annotations, the free-response curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.evaluation.bootstrap import bootstrap_interval
from lung_nodule.evaluation.free_response import (
    FALSE_POSITIVES_PER_SCAN,
    Curve,
    Findings,
    FreeResponse,
    Matches,
    constant_baseline,
    match,
    random_baseline,
)
from lung_nodule.evaluation.metrics import area_under_curve, classification_metrics, majority_accuracy
from lung_nodule.evaluation.results import SYNTHETIC, plain
from lung_nodule.io import CENTER

SCORE = "nodule_prob"


def detection_results(
    candidates: pd.DataFrame,
    findings: pd.DataFrame,
    scans: pd.DataFrame,
    *,
    dataset: dict[str, Any],
    settings: dict[str, Any],
) -> tuple[dict[str, Any], Curve | None]:
    """The content of ``metrics.json`` and the curve (None where no nodule is annotated).

    The tables of several folds, put together, give the figures over all of them: each fold scored by its own model.

    Args:
        candidates: table with a row per scored candidate: ``series_uid``, ``patient_id``, the centre (RAS, mm),
            ``label`` and ``nodule_prob``; further scores are named by ``settings["other_scores"]``.
        findings: ``nodules.csv`` of the candidates, of these scans.
        scans: ``scans.csv`` of the candidates: every scan that counts, also without candidates.
        dataset: description of the dataset.
        settings: settings that the model was built with.
    """
    number = {series: index for index, series in enumerate(scans["series_uid"])}
    own = findings[findings["series_uid"].isin(list(number))]
    annotated, excluded = own[own["excluded"] == 0], own[own["excluded"] == 1]
    places = (_places(table, number) for table in (candidates, annotated, excluded))
    matches = match(*places, scans=len(scans))
    response = FreeResponse(matches, candidates[SCORE].to_numpy()) if len(annotated) else None
    curve = None if response is None else response.curve()
    others = {name: candidates[name].to_numpy() for name in settings.get("other_scores", ())}
    results = {
        "dataset": dataset,
        "counts": _counts(candidates, scans, matches, excluded=len(excluded)),
        "classification": _classification(candidates),
        "detection": _detection(curve, response, matches, others) if curve and response else None,
        "notes": _notes(dataset, annotated=len(annotated) > 0),
    }
    return {**plain(results), "settings": plain(settings, decimals=None)}, curve


def detection_summary(results: dict[str, Any]) -> str:
    """The main figures, each next to its baseline, in one line."""
    counts, detection = results["counts"], results["detection"]
    parts = [
        "SYNTHETIC DATA, no result" if results["dataset"].get("synthetic") else "",
        f"{counts['candidates']} candidates of {counts['scans']} scans, {counts['of_nodules']} of nodules",
        f"AUC {_number(results['classification']['auc'])} (constant 0.500)",
    ]
    if detection:
        baselines = detection["baselines"]
        parts.append(
            f"CPM {_number(detection['cpm'])} (constant {_number(baselines['constant_cpm'])}, random "
            f"{_number(baselines['random_cpm'])}, at most {_number(detection['highest_sensitivity'])})"
        )
    return "; ".join(part for part in parts if part)


def _counts(candidates: pd.DataFrame, scans: pd.DataFrame, matches: Matches, *, excluded: int) -> dict[str, int]:
    return {
        "scans": len(scans),
        "patients": int(scans["patient_id"].nunique()),
        "scans_without_candidates": int((~scans["series_uid"].isin(candidates["series_uid"])).sum()),
        "candidates": len(candidates),
        "of_nodules": int((candidates["label"] == 1).sum()),
        "annotated_nodules": len(matches.nodule_scan),
        "nodules_hit": matches.found,
        "false_positives": len(matches.false),
        "excluded_findings": excluded,
    }


def _detection(
    curve: Curve, response: FreeResponse, matches: Matches, others: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The metric and its sensitivities with their intervals, of further scores too, next to the baselines."""
    intervals = response.intervals()
    names = [f"{rate:g}" for rate in FALSE_POSITIVES_PER_SCAN]
    return {
        "cpm": curve.competition_metric(),
        "cpm_interval": None if intervals is None else intervals[0].tolist(),
        "sensitivity_at": dict(zip(names, curve.at().tolist(), strict=True)),
        "sensitivity_intervals": None if intervals is None else dict(zip(names, intervals[1:].tolist(), strict=True)),
        "highest_sensitivity": matches.found / len(matches.nodule_scan),
        "other_scores": {
            name: FreeResponse(matches, score).curve().competition_metric() for name, score in others.items()
        },
        "baselines": {"constant_cpm": constant_baseline(matches), "random_cpm": random_baseline(matches)},
    }


def _places(table: pd.DataFrame, number: dict[str, int]) -> Findings:
    radius = table["diameter_mm"].to_numpy(dtype=float) / 2 if "diameter_mm" in table else np.zeros(len(table))
    scan = table["series_uid"].map(number)
    if scan.isna().any():
        raise ValueError(f"series {table['series_uid'][scan.isna()].iloc[0]} is not one of the evaluated scans")
    return Findings(scan.to_numpy(dtype=int), table[list(CENTER)].to_numpy(dtype=float), radius)


def _classification(candidates: pd.DataFrame) -> dict[str, Any]:
    def auc(rows: pd.DataFrame) -> float:
        return area_under_curve(rows[SCORE].to_numpy(), rows["label"].to_numpy() > 0.5)

    label = candidates["label"].to_numpy()
    return {
        **classification_metrics(candidates[SCORE].to_numpy(), label),
        "threshold": 0.5,
        "auc_interval": bootstrap_interval(candidates[["patient_id", SCORE, "label"]], auc, draws=200),
        "baselines": {"majority_accuracy": majority_accuracy(label > 0.5)},
    }


def _notes(dataset: dict[str, Any], *, annotated: bool) -> list[str]:
    free_response = [
        "detection: LUNA16's rules. A candidate hits a nodule nearer than its radius; further hits and hits of "
        "excluded findings are ignored; all scans and all annotated nodules count, with candidates or without.",
        "cpm: mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan; intervals are drawn over scans.",
        "highest_sensitivity: nodules that any candidate hits; no score can find more.",
        "constant_cpm: one score for all candidates, ties averaged; random_cpm: the mean of 20 random scores.",
    ]
    missing = ["No nodule is annotated in these scans, so there is no free-response curve: give `candidates` LUNA16's "
               "annotations.csv."]  # fmt: skip
    return [
        *([SYNTHETIC] if dataset.get("synthetic") else []),
        "Labels are LUNA16's: nodules of at least 3 mm that three of four readers marked.",
        "classification: every candidate counts once; auc_interval is drawn over patients.",
        *(free_response if annotated else missing),
    ]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
