"""Ignite handlers that turn an evaluator's output into files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lung_nodule.evaluation.collector import RowCollector
from lung_nodule.evaluation.results import describe_dataset, evaluation_results, summary
from lung_nodule.evaluation.rows import as_table, evaluation_row, inference_row
from lung_nodule.io import Volume, write_json, write_nifti, write_table

logger = logging.getLogger(__name__)


class EvaluationReport(RowCollector):
    """Collect a row per nodule; write ``predictions.csv`` and ``metrics.json`` when the evaluation is complete.

    Args:
        output_dir: folder to write to.
        dataset_dir: the evaluated dataset, whose ``dataset.json`` is quoted.
        settings: settings to write into ``metrics.json``.
    """

    def __init__(self, *, output_dir: str | Path, dataset_dir: str | Path, settings: dict[str, Any]) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.dataset_dir = Path(dataset_dir)
        self.settings = settings

    def row(self, nodule: Mapping[str, Any]) -> dict[str, Any]:
        """The nodule's predictions and its references."""
        return evaluation_row(nodule)

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write both files and log the main figures."""
        table = as_table(rows)
        results = evaluation_results(table, dataset=describe_dataset(self.dataset_dir), settings=self.settings)
        write_table(self.output_dir / "predictions.csv", table)
        write_json(self.output_dir / "metrics.json", results)
        logger.info(summary(results))
        logger.info(f"wrote {self.output_dir / 'metrics.json'} and predictions.csv")


class SaveNodules(RowCollector):
    """Write each nodule's maps and, at the end, a table of scores (a bundle's inference).

    Where a method segments: ``<nodule_id>_coarse.nii.gz``, ``_fine.nii.gz`` or ``_probability.nii.gz`` are
    probabilities, ``_mask.nii.gz`` the final mask, all on the VOI's own grid. ``predictions.csv`` has a row per nodule.

    Args:
        output_dir: folder to write to.
    """

    def __init__(self, *, output_dir: str | Path) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)

    def row(self, nodule: Mapping[str, Any]) -> dict[str, Any]:
        """The nodule's scores; its maps are written at once."""
        if nodule["prediction"].maps:
            self._save_maps(nodule)
        return inference_row(nodule)

    def _save_maps(self, nodule: Mapping[str, Any]) -> None:
        prediction = nodule["prediction"]
        volumes = {name: prediction.on_voi(name) for name in prediction.maps}
        volumes["mask"] = prediction.mask.astype(np.uint8)
        for key, volume in volumes.items():
            write_nifti(self.output_dir / f"{nodule['nodule_id']}_{key}.nii.gz", Volume(volume, nodule["affine"]))

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write the table."""
        write_table(self.output_dir / "predictions.csv", as_table(rows))
        logger.info(f"wrote {len(rows)} nodules to {self.output_dir}")
