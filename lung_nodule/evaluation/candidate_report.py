"""The files of a nodule-or-not evaluation: every candidate's score, the figures, the free-response curve."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.data import evaluated_scans
from lung_nodule.evaluation.collector import RowCollector
from lung_nodule.evaluation.detection import SCORE, detection_results, detection_summary
from lung_nodule.evaluation.free_response import FALSE_POSITIVES_PER_SCAN, Curve
from lung_nodule.evaluation.results import describe_dataset
from lung_nodule.evaluation.rows import as_table
from lung_nodule.io import CENTER, atomic_path, write_json, write_table

logger = logging.getLogger(__name__)

IDENTITY = ("nodule_id", "patient_id", "series_uid", "fold", *CENTER)


class CandidateReport(RowCollector):
    """Collect a row per candidate; when the evaluation is complete write the results.

    ``predictions.csv`` has every candidate's score, ``metrics.json`` the figures next to their baselines; where nodules
    are annotated, ``froc.csv`` and ``froc.png`` hold the free-response curve.

    Args:
        output_dir: folder to write to.
        dataset_dir: the evaluated dataset.
        folds: evaluated folds: all of their scans count, also those without candidates.
        settings: settings to write into ``metrics.json``.
    """

    def __init__(
        self, *, output_dir: str | Path, dataset_dir: str | Path, folds: Sequence[int | str], settings: dict[str, Any]
    ) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.dataset_dir = Path(dataset_dir)
        self.folds = list(folds)
        self.settings = settings

    def row(self, nodule: Mapping[str, Any]) -> dict[str, Any]:
        """Identity, label and scores of a candidate."""
        known = {**{key: nodule[key] for key in IDENTITY}, "label": int(nodule["nodule"])}
        return {**known, SCORE: float(nodule[SCORE][0]), **nodule["prediction"].other_scores}

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write the files and log the main figures."""
        table = as_table(rows)
        scans, findings = evaluated_scans(self.dataset_dir, self.folds)
        dataset = describe_dataset(self.dataset_dir)
        results, curve = detection_results(table, findings, scans, dataset=dataset, settings=self.settings)
        write_table(self.output_dir / "predictions.csv", table)
        write_json(self.output_dir / "metrics.json", results)
        for name in ("froc.csv", "froc.png"):
            (self.output_dir / name).unlink(missing_ok=True)  # of an earlier evaluation, with annotations
        if curve is not None:
            write_curve(self.output_dir / "froc.csv", curve)
            draw_curve(self.output_dir / "froc.png", curve, results)
        logger.info(detection_summary(results))
        logger.info(f"wrote {self.output_dir / 'metrics.json'}, predictions.csv{' and froc' if curve else ''}")


def write_curve(path: Path, curve: Curve) -> None:
    """A row per point: ``threshold``, ``false_positives_per_scan``, ``sensitivity``."""
    columns = {
        "threshold": curve.threshold,
        "false_positives_per_scan": curve.false_positives,
        "sensitivity": curve.sensitivity,
    }
    write_table(path, pd.DataFrame(columns))


def draw_curve(path: Path, curve: Curve, results: dict[str, Any]) -> None:
    """The curve from 1/8 to 8 false positives a scan on LUNA16's axes, its seven points, and its bounds."""
    from matplotlib.figure import Figure

    detection = results["detection"]
    figure = Figure(figsize=(5.2, 4.2), dpi=150, layout="constrained")
    axis = figure.subplots()
    rates = [FALSE_POSITIVES_PER_SCAN[0] * 2 ** (step / 32) for step in range(6 * 32 + 1)]
    axis.plot(rates, curve.at(rates), color="C0")
    axis.plot(FALSE_POSITIVES_PER_SCAN, curve.at(), "o", color="C0", label=f"CPM {detection['cpm']:.3f}")
    for rate, interval in zip(
        FALSE_POSITIVES_PER_SCAN, (detection["sensitivity_intervals"] or {}).values(), strict=False
    ):
        axis.plot([rate, rate], interval, color="C0", alpha=0.4)
    constant = detection["baselines"]["constant_cpm"]
    axis.axhline(constant, color="0.6", linestyle=":", label=f"one score for all: CPM {constant:.3f}")
    highest = detection["highest_sensitivity"]
    axis.axhline(highest, color="0.6", linestyle="--", label=f"nodules that candidates hit: {highest:.3f}")
    axis.set(xscale="log", ylim=(0, 1.02), xlabel="false positives per scan", ylabel="sensitivity")
    axis.set_xticks(FALSE_POSITIVES_PER_SCAN, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")
    counts = results["counts"]
    title = f"{counts['annotated_nodules']} nodules, {counts['scans']} scans"
    synthetic = results["dataset"].get("synthetic")
    axis.set_title(f"SYNTHETIC DATA, no result: {title}" if synthetic else title, fontsize=9)
    figure.supxlabel("Research use only, not for diagnosis", fontsize=7, color="0.4")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})
