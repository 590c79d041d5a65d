"""Ignite handlers that turn an evaluator's output into files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ignite.engine import Engine, Events

from lung_nodule.core import MASK_THRESHOLD, central_component, nodule_mask
from lung_nodule.io import Volume, write_json, write_nifti, write_table

from .baselines import threshold_mask
from .results import evaluation_results
from .segmentation import Overlap

logger = logging.getLogger(__name__)

PREDICTION_COLUMNS = [
    "nodule_id", "patient_id", "fold", "readers", "diameter_mm", "malignancy_mean", "malignant", "malignancy_prob",
    "dice", "jaccard", "accuracy", "recall", "specificity", "coarse_dice", "dice_voi", "threshold_dice", "volume_mm3",
    "crop_extent_mm", "true_positive", "false_positive", "false_negative", "true_negative",
]  # fmt: skip


class EvaluationReport:
    """Collect a row per nodule; write ``predictions.csv`` and ``metrics.json`` when the evaluation is complete.

    Args:
        output_dir: where the two files go.
        dataset_dir: the evaluated dataset, whose ``dataset.json`` is quoted.
        settings: written into ``metrics.json``.
    """

    def __init__(self, *, output_dir: str | Path, dataset_dir: str | Path, settings: dict[str, Any]) -> None:
        self.output_dir = Path(output_dir)
        self.dataset_dir = Path(dataset_dir)
        self.settings = settings
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Called by the evaluator."""
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def collect(self, engine: Engine) -> None:
        """Measure the nodule of one iteration."""
        self.rows.append(nodule_row(nodule_of(engine)))

    def write(self, engine: Engine) -> None:
        """Write both files and log the figures that matter."""
        table = pd.DataFrame(self.rows, columns=PREDICTION_COLUMNS)
        results = evaluation_results(table, dataset=self._dataset(), settings=self.settings)
        write_table(self.output_dir / "predictions.csv", table.round(6))
        write_json(self.output_dir / "metrics.json", results)
        logger.info(summary(results))
        logger.info(f"wrote {self.output_dir / 'metrics.json'} and predictions.csv")

    def _dataset(self) -> dict[str, Any]:
        path = self.dataset_dir / "dataset.json"
        described = json.loads(path.read_text()) if path.is_file() else {}
        described = {**described.get("settings", {}), **described}
        kept = {key: described[key] for key in ("name", "consensus", "licence", "source") if key in described}
        return {**kept, "dataset_dir": str(self.dataset_dir), "synthetic": bool(described.get("synthetic_scans"))}


class SaveNodules:
    """Write each nodule's maps and, at the end, a table of scores (the bundle's inference).

    ``<nodule_id>_coarse.nii.gz`` and ``_fine.nii.gz`` are probabilities, ``_mask.nii.gz`` the final mask, all on the
    VOI's own grid; ``predictions.csv`` has a row per nodule.

    Args:
        output_dir: where they go.
    """

    def __init__(self, *, output_dir: str | Path) -> None:
        self.output_dir = Path(output_dir)
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Called by the evaluator."""
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def save(self, engine: Engine) -> None:
        """Write the maps of one iteration's nodule."""
        nodule = nodule_of(engine)
        field, name = nodule["field"], nodule["nodule_id"]
        for key in ("coarse", "fine"):
            map_voi = Volume(field.restore(nodule[key]), nodule["affine"])
            write_nifti(self.output_dir / f"{name}_{key}.nii.gz", map_voi)
        mask = final_mask(nodule)
        write_nifti(self.output_dir / f"{name}_mask.nii.gz", Volume(mask.astype(np.uint8), nodule["affine"]))
        volume = mask.sum() * np.prod(nodule["spacing"])
        score = float(nodule["malignancy_prob"][0])
        self.rows.append({"nodule_id": name, "malignancy_prob": score, "volume_mm3": float(volume)})

    def write(self, engine: Engine) -> None:
        """Write the table."""
        write_table(self.output_dir / "predictions.csv", pd.DataFrame(self.rows).round(6))
        logger.info(f"wrote {len(self.rows)} nodules to {self.output_dir}")


def nodule_of(engine: Engine) -> dict[str, Any]:
    """What is known of an iteration's one nodule: its item of the dataset and what the network made of it."""
    return {**engine.state.batch, **engine.state.output}


def final_mask(nodule: dict[str, Any]) -> np.ndarray:
    """bool ``[X, Y, Z]``: the mask that a user gets, on the VOI's grid."""
    return nodule_mask(nodule["field"].restore(nodule["fine"]), nodule["center"], nodule["spacing"])


def nodule_row(nodule: dict[str, Any]) -> dict[str, Any]:
    """One row of ``predictions.csv``."""
    field, reference = nodule["field"], np.moveaxis(np.asarray(nodule["label"])[0, 0], 2, 0) > 0.5
    overlap = Overlap.of(nodule["segmentation"], reference)
    mask_voi, reference_voi = final_mask(nodule), nodule["mask"] > 0
    threshold = threshold_mask(field.sample(np.asarray(nodule["ct"])), field)
    coarse = central_component(nodule["coarse"] >= MASK_THRESHOLD, field.central_pixel, field.pixel_spacing)
    return {
        **{key: nodule[key] for key in PREDICTION_COLUMNS if key in nodule},
        **vars(overlap),
        **overlap.measures(),
        "malignancy_prob": float(nodule["malignancy_prob"][0]),
        "coarse_dice": Overlap.of(coarse, reference).measures()["dice"],
        "dice_voi": Overlap.of(mask_voi, reference_voi).measures()["dice"],
        "threshold_dice": Overlap.of(threshold, reference).measures()["dice"],
        "volume_mm3": float(mask_voi.sum() * np.prod(nodule["spacing"])),
    }


def summary(results: dict[str, Any]) -> str:
    """The figures that matter, each beside its baseline, in one line."""
    counts, segmentation, classification = results["counts"], results["segmentation"], results["classification"]
    parts = [
        "SYNTHETIC DATA, no result" if results["dataset"]["synthetic"] else "",
        f"{counts['nodules']} nodules of {counts['patients']} patients",
        f"Dice {_number(segmentation['macro']['dice'])} "
        f"(threshold {_number(segmentation['baselines']['threshold_dice'])})",
    ]
    if classification:
        baselines = classification["baselines"]
        parts += [
            f"AUC {_number(classification['auc'])} (diameter alone {_number(baselines['diameter_mm_auc'])}, "
            f"crop extent alone {_number(baselines['crop_extent_mm_auc'])})",
            f"accuracy {_number(classification['accuracy'])} (majority {_number(baselines['majority_accuracy'])})",
        ]
    return "; ".join(part for part in parts if part)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
