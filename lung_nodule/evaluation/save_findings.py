"""Output files of a bundle's inference on a user's CT, in the layout of ``predict``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from lung_nodule.core import size_of
from lung_nodule.evaluation.rows import as_table, nodule_of, prediction_columns
from lung_nodule.io import CENTER, TABLE, ScanMasks, mask_path, refuse_own_input, remove_earlier_masks, write_table

logger = logging.getLogger(__name__)


class SaveFindings:
    """Write ``nodules.csv`` and, where the method segments, masks on each CT's own grid.

    ``masks/<nodule_id>.nii.gz`` (uint8) per nodule and one label map (uint16) per CT: ``nodules.nii.gz``, or
    ``nodules_<CT>.nii.gz`` where the table names several CTs. ``nodules.csv`` has a row per nodule: its CT, its label
    in the map, its centre, the scores, the mask's volume, diameters and mean HU. It is written last.

    Args:
        output_dir: folder to write to; masks that an earlier ``nodules.csv`` there lists are removed, other files stay.
        nodules: the table of requested nodules.
        ct: the CT, where the table does not name it.

    Raises:
        InputError: the results would take the place of the table or of the CT.
    """

    def __init__(self, *, output_dir: str | Path, nodules: str | Path, ct: str | Path | None = None) -> None:
        for given in (nodules,) if ct is None else (nodules, ct):
            refuse_own_input(given, output_dir)
        self.output_dir = Path(output_dir)
        self.rows: list[dict[str, Any]] = []
        self.masks: ScanMasks | None = None

    def attach(self, engine: Engine) -> None:
        """Called by the evaluator."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        """Reset for a new run."""
        self.rows, self.masks = [], None
        remove_earlier_masks(self.output_dir)

    def save(self, engine: Engine) -> None:
        """Write the mask of one iteration's nodule, and keep its row."""
        nodule = nodule_of(engine)
        mask = self._save_mask(nodule) if nodule["prediction"].maps else None
        self.rows.append(finding_row(nodule, mask))

    def _save_mask(self, nodule: Mapping[str, Any]) -> np.ndarray:
        """bool ``[X, Y, Z]`` on the VOI's grid; a CT's label map is written when its last nodule has come."""
        mask = nodule["prediction"].mask
        if self.masks is None or self.masks.labels != nodule["labels"]:
            self._write_labels()
            self.masks = ScanMasks(self.output_dir, nodule["grid"], labels=nodule["labels"])
        self.masks.add(nodule["nodule_id"], nodule["number"], mask, nodule["box"])
        return mask

    def _write_labels(self) -> None:
        if self.masks is not None:
            self.masks.write()

    def write(self, engine: Engine) -> None:
        """Write the last label map and the table."""
        self._write_labels()
        write_table(self.output_dir / TABLE, as_table(self.rows))
        logger.info(f"wrote {len(self.rows)} nodules to {self.output_dir / TABLE}")


def finding_row(nodule: Mapping[str, Any], mask: np.ndarray | None) -> dict[str, Any]:
    """A nodule's row of ``nodules.csv``.

    Args:
        nodule: item of :func:`~lung_nodule.data.scan_datalist` with the prediction of the network.
        mask: bool on the VOI's grid; None where the method does not segment.
    """
    return {
        "nodule_id": nodule["nodule_id"],
        "ct": nodule["scan"],
        "label": nodule["number"],
        **{column: nodule[column] for column in CENTER},
        **prediction_columns(nodule),
        **({} if mask is None else _size(nodule, mask)),
    }


def _size(nodule: Mapping[str, Any], mask: np.ndarray) -> dict[str, Any]:
    return {
        **asdict(size_of(mask, nodule["spacing"]).rounded()),
        "mean_hu": float(nodule["ct"][mask].mean()) if mask.any() else float("nan"),
        "mask": mask_path(nodule["nodule_id"]),
    }
