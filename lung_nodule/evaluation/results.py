"""``metrics.json``: from a row per nodule to the figures and their baselines. One schema for all bundles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.data.datalist import dataset_json
from lung_nodule.evaluation.bootstrap import PatientBootstrap
from lung_nodule.evaluation.metrics import (
    SIZE_BASELINES,
    Overlap,
    area_under_curve,
    classification_metrics,
    majority_accuracy,
    size_aucs,
)
from lung_nodule.evaluation.rows import COUNTS

SYNTHETIC = "SYNTHETIC DATA: these figures show that the software runs. They are not results."
VALIDATION = "VALIDATION FOLD: it chose the weights, so these figures are not results."
KEPT = ("name", "consensus", "licence", "source")
MEASURES = ("dice", "jaccard", "accuracy", "recall", "specificity")


def evaluation_results(table: pd.DataFrame, *, dataset: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The content of ``metrics.json``.

    Args:
        table: table with a row per nodule, as :class:`~lung_nodule.evaluation.EvaluationReport` collects it.
        dataset: description of the dataset (name, folder, whether synthetic).
        settings: settings that the model was built and the nodules were chosen with; ``attribute_medians`` of the
            training nodules and ``other_scores``, the names of further malignancy scores, are read from it.

    Returns:
        JSON types, figures rounded to six decimals; None where a figure does not exist (a class is missing) and for
        what the method does not predict.
    """
    labelled = table[table["malignant"].notna()]
    scored = labelled[labelled["malignancy_prob"].notna()]
    segments = "dice" in table
    figures = {
        "dataset": dataset,
        "counts": _counts(table, labelled),
        "segmentation": _segmentation(table) if segments else None,
        "classification": _classification(scored, settings) if len(scored) else None,
        "attributes": attribute_results(table, settings.get("attribute_medians", {})),
    }
    notes = [*_notes(table, dataset), *([VALIDATION] if settings.get("split") == "validation" else [])]
    return {**plain(figures), "settings": plain(settings, decimals=None), "notes": notes}


def describe_dataset(dataset_dir: Path) -> dict[str, Any]:
    """Name, consensus, licence and source from ``dataset.json``, the folder, and whether the data are synthetic."""
    described = dataset_json(dataset_dir)
    described = {**described.get("settings", {}), **described}
    kept = {key: described[key] for key in KEPT if key in described}
    return {**kept, "dataset_dir": str(dataset_dir), "synthetic": bool(described.get("synthetic_scans"))}


def summary(results: dict[str, Any]) -> str:
    """The main figures, each next to its baseline, in one line."""
    counts = results["counts"]
    parts = [
        "SYNTHETIC DATA, no result" if results["dataset"]["synthetic"] else "",
        f"{counts['nodules']} nodules of {counts['patients']} patients",
        *_segmentation_summary(results["segmentation"]),
        *_classification_summary(results["classification"]),
        *_attribute_summary(results["attributes"]),
    ]
    return "; ".join(part for part in parts if part)


def _counts(table: pd.DataFrame, labelled: pd.DataFrame) -> dict[str, int]:
    malignant = int((labelled["malignant"] > 0.5).sum())
    missed = {"missed": int((table["dice"] == 0).sum())} if "dice" in table else {}
    return {
        "nodules": len(table),
        "patients": table["patient_id"].nunique(),
        "malignant": malignant,
        "benign": len(labelled) - malignant,
        "undecided": len(table) - len(labelled),
        **missed,
    }


def _segmentation(table: pd.DataFrame) -> dict[str, Any]:
    pooled = Overlap.pooled(Overlap(*row) for row in table[list(COUNTS)].itertuples(index=False))
    coarse = {"coarse_dice": table["coarse_dice"].mean()} if "coarse_dice" in table else {}
    return {
        "macro": {measure: table[measure].mean() for measure in MEASURES},
        "pooled": pooled.measures(),
        "dice_interval": _dice_interval(table[table["dice"].notna()]),
        **coarse,
        "dice_voi": table["dice_voi"].mean(),
        "baselines": {"threshold_dice": table["threshold_dice"].mean()},
    }


def _dice_interval(table: pd.DataFrame) -> list[float] | None:
    patients = table["patient_id"].tolist()
    bootstrap = PatientBootstrap(patients)
    return bootstrap.interval(bootstrap.means(table["dice"].to_numpy(), patients))


def _classification(labelled: pd.DataFrame, settings: dict[str, Any]) -> dict[str, Any]:
    probability, label = labelled["malignancy_prob"].to_numpy(), labelled["malignant"].to_numpy()
    patients = labelled["patient_id"].tolist()
    bootstrap = PatientBootstrap(patients)
    aucs, diameters = (
        bootstrap.aucs(labelled[column].to_numpy(), label, patients) for column in ("malignancy_prob", "diameter_mm")
    )
    others = {
        name: classification_metrics(labelled[name].to_numpy(), label) for name in settings.get("other_scores", ())
    }
    return {
        **classification_metrics(probability, label),
        "threshold": 0.5,
        "auc_interval": bootstrap.interval(aucs),
        **({"other_scores": others} if others else {}),
        "baselines": {
            "majority_accuracy": majority_accuracy(label > 0.5),
            **{f"{column}_auc": auc for column, auc in size_aucs(labelled).items()},
            "auc_above_diameter": _auc_above_diameter(labelled),
            "auc_above_diameter_interval": bootstrap.interval(aucs - diameters),
        },
    }


def _auc(rows: pd.DataFrame) -> float:
    return area_under_curve(rows["malignancy_prob"].to_numpy(), rows["malignant"].to_numpy() > 0.5)


def _auc_above_diameter(rows: pd.DataFrame) -> float:
    """Difference between the AUCs of the score and of the diameter on the same nodules."""
    return _auc(rows) - area_under_curve(rows["diameter_mm"].to_numpy(), rows["malignant"].to_numpy() > 0.5)


def attribute_results(table: pd.DataFrame, medians: Mapping[str, float]) -> dict[str, dict[str, Any]] | None:
    """The section ``attributes`` of ``metrics.json``; None for a method that predicts none.

    Args:
        table: the rows of ``predictions.csv``. Rated attributes are in ``<a>_pred`` and ``<a>_mean`` (MTMR-Net, Table
            2: mean absolute error on the original scale), binarised ones in ``<a>_prob`` and ``<a>_high``.
        medians: per rated attribute the median of the training nodules, the constant predictor.
    """
    columns = list(map(str, table.columns))
    rated = [column.removesuffix("_pred") for column in columns if column.endswith("_pred")]
    binary = [column.removesuffix("_high") for column in columns if column.endswith("_high")]
    results = {name: _rated(table, name, medians.get(name)) for name in rated}
    results |= {name: {**results.get(name, {}), **_binary(table, name)} for name in binary}
    return results or None


def _rated(table: pd.DataFrame, name: str, median: float | None) -> dict[str, Any]:
    reference = table[f"{name}_mean"]
    baseline = float("nan") if median is None else float((reference - median).abs().mean())
    return {"mae": float((table[f"{name}_pred"] - reference).abs().mean()), "baseline_mae": baseline}


def _binary(table: pd.DataFrame, name: str) -> dict[str, Any]:
    high, score = table[f"{name}_high"].to_numpy() > 0.5, table[f"{name}_prob"].to_numpy()
    counts = Overlap.of(score >= 0.5, high)
    return {
        "accuracy": counts.measure("accuracy"),
        "balanced_accuracy": counts.measure("balanced_accuracy"),
        "auc": area_under_curve(score, high),
        "baseline_accuracy": majority_accuracy(high),
    }


def _notes(table: pd.DataFrame, dataset: dict[str, Any]) -> list[str]:
    segmentation = [
        "Segmentation is measured in the fixed patch around the centre; accuracy and specificity depend on its size.",
        "macro is the mean over nodules, pooled counts all pixels together.",
        "threshold_dice: everything above -400 HU that is connected to the nodule's centre.",
        "On crops that end with the nodule Dice is optimistic: the mask cannot be wrong on slices beyond it.",
    ]
    attributes = [
        "attributes: mae and accuracy per attribute against the mean of the readers' ratings; baseline_mae is the "
        "constant median of the training nodules, baseline_accuracy the more frequent class."
    ]
    return [
        *([SYNTHETIC] if dataset.get("synthetic") else []),
        "Labels are the readers' opinions, not pathology; nodules without a class are left out of the classification.",
        "Intervals are 95 %, drawn over patients.",
        *(f"{column}_auc: {meaning}, on the same nodules." for column, meaning in SIZE_BASELINES.items()),
        "auc_above_diameter: AUC minus the diameter's; its interval draws both from the same patients.",
        *(segmentation if "dice" in table else []),
        *(attributes if any(str(column).endswith(("_pred", "_high")) for column in table) else []),
    ]


def _segmentation_summary(segmentation: dict[str, Any] | None) -> list[str]:
    if not segmentation:
        return []
    dice, baseline = segmentation["macro"]["dice"], segmentation["baselines"]["threshold_dice"]
    return [f"Dice {_number(dice)} (threshold {_number(baseline)})"]


def _classification_summary(classification: dict[str, Any] | None) -> list[str]:
    if not classification:
        return []
    baselines = classification["baselines"]
    return [
        f"AUC {_number(classification['auc'])} (diameter alone {_number(baselines['diameter_mm_auc'])}, "
        f"crop extent alone {_number(baselines['crop_extent_mm_auc'])})",
        f"accuracy {_number(classification['accuracy'])} (majority {_number(baselines['majority_accuracy'])})",
    ]


def _attribute_summary(attributes: dict[str, dict[str, Any]] | None) -> list[str]:
    """Number of attributes with a smaller error than their constant."""
    entries = list((attributes or {}).values())
    rated = [one for one in entries if None not in (one.get("mae"), one.get("baseline_mae"))]
    binary = [one for one in entries if None not in (one.get("accuracy"), one.get("baseline_accuracy"))]
    better = sum(one["mae"] < one["baseline_mae"] for one in rated)
    above = sum(one["accuracy"] > one["baseline_accuracy"] for one in binary)
    return [
        f"{better} of {len(rated)} attributes below the constant's error" if rated else "",
        f"{above} of {len(binary)} attributes above the majority" if binary else "",
    ]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def plain(value: Any, *, decimals: int | None = 6) -> Any:
    """Convert nested values to JSON types.

    Args:
        value: dicts, lists, tuples, text, booleans, Python's and numpy's numbers, None.
        decimals: number of decimals that floats are rounded to; None keeps them all.

    Returns:
        The same structure, with None for NaN and infinity.
    """
    if isinstance(value, dict):
        return {key: plain(item, decimals=decimals) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, decimals=decimals) for item in value]
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    number = float(value)
    if not math.isfinite(number):
        return None
    return number if decimals is None else round(number, decimals)
