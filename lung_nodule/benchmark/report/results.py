"""Content of ``benchmark.json``: figures of every method and comparison of every network with every baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from lung_nodule.benchmark.baselines.methods_without_network import ONE_READER, Baseline
from lung_nodule.benchmark.figures.classification_figures import rank_correlation
from lung_nodule.benchmark.figures.comparison import DICE, Comparison, Figure, figures_of
from lung_nodule.benchmark.figures.method_figures import method_figures
from lung_nodule.benchmark.panel.panel_rows import PANEL
from lung_nodule.evaluation.results import SYNTHETIC, plain
from lung_nodule.methods import METHODS

NOTES = (
    "Labels are the readers' opinions, not pathology: malignant where their mean is above 3, benign below; at 3 a "
    "nodule has no class. *AUC, 3 as benign* counts those as benign; *Spearman, 3 kept* is the correlation with the "
    "readers' mean.",
    "All folds' predictions are pooled; with several seeds a figure is their mean, its spread the standard deviation.",
    "Intervals are 95 %, drawn over patients, the same for all methods; those of differences are paired.",
    "Differences are taken on the nodules that both methods have in each of their seeds. One reader is compared with a "
    "network reading by reading, both against the other readers; for masks there is no such difference: a reader's "
    "Dice in the table is with the consensus of the others, a network's with that of all, which is easier.",
    "*AUC of high against low*: of a method's probability, or of its rating where it gives no probability.",
    "*Dice* on these VOIs is a little optimistic for every method: the crops end near the readers' outlines.",
    "*Dice per nodule* is measured on the voxels of the VOI, as for the masks that need no network.",
    "panel: the mean of the networks' probabilities and of their ratings; its mask is that of a weighted mean of their "
    "maps.",
)
OF_PROTOCOL = {
    "cross-validation": (
        "*at the chosen threshold*: accuracy at the threshold that the validation fold chose (highest sensitivity + "
        "specificity).",
        "The weights of the panel's maps, in tenths, are those that the validation fold chose (highest mean Dice).",
        "A baseline is fitted on the three training folds of the fold that it is tested on, as the networks' weights "
        "are. A network's read-out, a regression on a few numbers, is fitted on the validation fold, which those "
        "baselines do not see; one that is fitted on all four folds says so. Where a read-out takes "
        "`measured_malignancy`, support vector regressions on ten measurements, fitted in the training folds, are "
        "among its numbers. Baselines' and measured ratings are fitted on all nodules of their folds; MTMR-Net itself "
        "is trained on those with a class.",
    ),
    "given weights": (
        "*at the chosen threshold*: accuracy at the threshold in the weights' side files, from their cross-validation; "
        "a fitted baseline's was chosen on a fold of the dataset that it was fitted on.",
        "The weights of the panel's maps are those of the served panel.",
    ),
}
CENTRE = "the nodule's centre, and the crop's extent, which a network can see"
DIAMETER = f"{CENTRE}; the mean diameter"


def benchmark_results(
    table: pd.DataFrame,
    networks: Sequence[str],
    baselines: Sequence[Baseline],
    *,
    described: Mapping[str, Any],
    protocol: Mapping[str, Any],
    notes: Sequence[str] = (),
    spread_of_readers: pd.Series | None = None,
) -> dict[str, Any]:
    """Compute the content of ``benchmark.json``.

    Args:
        table: long table.
        networks: names of the networks.
        baselines: baselines; those without rows are left out.
        described: description of the dataset.
        protocol: description of the protocol.
        notes: additional notes.
        spread_of_readers: standard deviation of the malignancy ratings, by ``nodule_id``.
    """
    tables = {str(name): rows for name, rows in table.groupby("method", sort=False)}
    present = [baseline for baseline in baselines if baseline.name in tables]
    comparison = Comparison(tables, readings=ONE_READER.name if ONE_READER.name in tables else None)
    methods: dict[str, Any] = {}
    for name in networks:
        methods[name] = {
            "kind": "network",
            "given_by_readers": _given_by_readers(name, networks),
            **method_figures(tables[name]),
        }
        methods[name] |= _compare(comparison, name, present)
        methods[name]["uncertainty"] = _uncertainty(tables[name], spread_of_readers)
    for baseline in present:
        rows = tables[baseline.name]
        methods[baseline.name] = {
            "kind": "baseline",
            "title": baseline.title,
            "given_by_readers": baseline.readers,
            **method_figures(rows),
            "intervals": _intervals(comparison, baseline.name, figures_of(rows)),
        }
    synthetic = [SYNTHETIC] if described.get("synthetic") else []
    return {
        "dataset": plain(dict(described), decimals=None),
        "protocol": plain(dict(protocol), decimals=None),
        "methods": plain(methods),
        "notes": [*synthetic, *notes, *NOTES, *OF_PROTOCOL[protocol["kind"]]],
    }


def _given_by_readers(network: str, networks: Sequence[str]) -> str:
    """Inputs of a network that come from the readers' outlines; for the panel, those of its networks."""
    asked = [name for name in networks if name != PANEL] if network == PANEL else [network]
    views = [METHODS[name].view for name in asked if name in METHODS]
    return DIAMETER if any("diameter_mm" in view.needs for view in views) else CENTRE


def _intervals(comparison: Comparison, method: str, figures: Sequence[Figure]) -> dict[str, list[float] | None]:
    return {f"{figure.section} {figure.name}": comparison.interval(method, figure) for figure in figures}


def _compare(comparison: Comparison, network: str, baselines: Sequence[Baseline]) -> dict[str, Any]:
    """``intervals``, ``against`` (by figure and baseline), ``not_beaten`` (by figure)."""
    figures = figures_of(comparison.tables[network])
    against: dict[str, dict[str, Any]] = {}
    for figure in figures:
        named = f"{figure.section} {figure.name}"
        rivals = [one.name for one in baselines if _has(comparison.tables[one.name], figure)]
        if figure == DICE:  # a reader's is with the consensus of the others, which has no Dice of the network's
            rivals = [name for name in rivals if name != comparison.readings]
        against[named] = {name: comparison.difference(network, name, figure) for name in rivals}
    not_beaten = {
        named: [name for name, entry in each.items() if math.isfinite(entry["difference"]) and not entry["better"]]
        for named, each in against.items()
    }
    return {"intervals": _intervals(comparison, network, figures), "against": against, "not_beaten": not_beaten}


def _has(rows: pd.DataFrame, figure: Figure) -> bool:
    return (figure.section, figure.name) in {(one.section, one.name) for one in figures_of(rows)}


def _uncertainty(rows: pd.DataFrame, readers: pd.Series | None) -> dict[str, Any] | None:
    """Spearman correlation of a network's uncertainty with the standard deviation of the readers' ratings.

    ``interval_width`` uses the column ``malignancy_spread``, ``seeds`` the probability's spread over the seeds.
    """
    if readers is None:
        return None
    found: dict[str, Any] = {}
    if "malignancy_spread" in rows and rows["malignancy_spread"].notna().any():
        width = rows.groupby("nodule_id")["malignancy_spread"].mean()
        found["interval_width"] = _agreement(width, readers)
    if rows["seed"].nunique() > 1:
        found["seeds"] = _agreement(rows.groupby("nodule_id")["malignancy_prob"].std(ddof=1), readers)
    return found or None


def _agreement(width: pd.Series, readers: pd.Series) -> dict[str, Any]:
    both = pd.concat([width.rename("width"), readers.rename("readers")], axis=1, join="inner").dropna()
    return {"spearman": rank_correlation(both["width"], both["readers"]), "nodules": len(both)}
