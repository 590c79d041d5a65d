"""``predictions.csv``: one row per nodule, one schema for all bundles; a method fills what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.engine import Engine
from lung_nodule.core import MASK_THRESHOLD, central_component, nodule_mask
from lung_nodule.evaluation.metrics import Overlap, threshold_mask

IDENTITY = (
    "nodule_id", "patient_id", "fold", "readers", "diameter_mm", "crop_extent_mm", "malignancy_mean", "malignant",
)  # fmt: skip
SCORES = ("malignancy_prob", "nodule_prob")
COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")


def nodule_of(engine: Engine) -> dict[str, Any]:
    """An iteration's one nodule, on the CPU: its item of the dataset and what the network made of it."""
    known = {**engine.state.batch, **engine.state.output}
    return {key: value.cpu() if isinstance(value, torch.Tensor) else value for key, value in known.items()}


def evaluation_row(nodule: Mapping[str, Any]) -> dict[str, Any]:
    """A nodule's predictions beside its references."""
    return {
        **{key: nodule[key] for key in IDENTITY},
        **prediction_columns(nodule),
        **_segmentation(nodule),
        **{f"{name}_mean": nodule[f"{name}_mean"] for name in nodule.get("attributes", {})},
        **{f"{name}_high": high for name, high in nodule.get("attribute_highs", {}).items()},
    }


def inference_row(nodule: Mapping[str, Any]) -> dict[str, Any]:
    """A nodule's predictions alone: nothing in it needs a reference."""
    return {"nodule_id": nodule["nodule_id"], **prediction_columns(nodule), **_volume(nodule)}


def prediction_columns(nodule: Mapping[str, Any]) -> dict[str, float]:
    """Scores of a nodule: ``malignancy_prob``, ``<attribute>_pred`` (original scale), ``<attribute>_prob``, others."""
    return {
        **{name: float(nodule[name][0]) for name in SCORES if name in nodule},
        **{f"{name}_pred": float(value) for name, value in nodule.get("attributes", {}).items()},
        **{f"{name}_prob": float(value) for name, value in nodule.get("attribute_probs", {}).items()},
        **{name: float(value) for name, value in nodule.get("other_scores", {}).items()},
    }


def final_mask(nodule: Mapping[str, Any]) -> np.ndarray:
    """bool ``[X, Y, Z]``: the mask that a user gets, on the VOI's grid."""
    return nodule_mask(nodule["patch"].restore(nodule["probability"]), nodule["center"], nodule["spacing"])


def as_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows as a table, no number rounded: near 0 and 1 scores that differ would become ties."""
    return pd.DataFrame(list(rows))


def _segmentation(nodule: Mapping[str, Any]) -> dict[str, float]:
    """Measures on the view's grid, on the VOI's own voxels, and of the threshold baseline."""
    if "segmentation" not in nodule:
        return {}
    patch, reference = nodule["patch"], np.moveaxis(np.asarray(nodule["label"])[0, 0], 2, 0) > 0.5
    overlap = Overlap.of(nodule["segmentation"], reference)
    threshold = threshold_mask(patch.sample(np.asarray(nodule["ct"])), patch)
    mask = final_mask(nodule)
    return {
        **overlap.measures(),
        **_coarse(nodule, reference),
        "dice_voi": Overlap.of(mask, nodule["mask"] > 0).measures()["dice"],
        "threshold_dice": Overlap.of(threshold, reference).measures()["dice"],
        "volume_mm3": float(mask.sum() * np.prod(nodule["spacing"])),
        **vars(overlap),
    }


def _coarse(nodule: Mapping[str, Any], reference: np.ndarray) -> dict[str, float]:
    if "coarse" not in nodule:
        return {}
    patch = nodule["patch"]
    coarse = central_component(nodule["coarse"] >= MASK_THRESHOLD, patch.central_pixel, patch.pixel_spacing)
    return {"coarse_dice": Overlap.of(coarse, reference).measures()["dice"]}


def _volume(nodule: Mapping[str, Any]) -> dict[str, float]:
    if "probability" not in nodule:
        return {}
    return {"volume_mm3": float(final_mask(nodule).sum() * np.prod(nodule["spacing"]))}
