"""``predictions.csv``: one row per nodule, one schema for all bundles; a method fills what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from ignite.engine import Engine
from lung_nodule.core import Prediction
from lung_nodule.evaluation.metrics import Overlap, threshold_mask

IDENTITY = (
    "nodule_id", "patient_id", "fold", "readers", "diameter_mm", "crop_extent_mm", "malignancy_mean", "malignant",
)  # fmt: skip
SCORES = ("malignancy_prob", "nodule_prob")
INTERVAL = ("malignancy_prob_min", "malignancy_prob_max")
COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")


def nodule_of(engine: Engine) -> dict[str, Any]:
    """An iteration's one nodule, on the CPU: its item of the dataset and the network's outputs."""
    batch, output = cast(dict[str, Any], engine.state.batch), cast(dict[str, Any], engine.state.output)
    known = {**batch, **output}
    return {key: value.cpu() if isinstance(value, torch.Tensor) else value for key, value in known.items()}


def evaluation_row(nodule: Mapping[str, Any]) -> dict[str, Any]:
    """A nodule's predictions and its references."""
    return {
        **{key: nodule[key] for key in IDENTITY},
        **prediction_columns(nodule),
        **_segmentation(nodule),
        **{f"{name}_mean": nodule[f"{name}_mean"] for name in nodule["prediction"].attributes},
        **high_columns(nodule),
        **nodule["prediction"].measured,
    }


def inference_row(nodule: Mapping[str, Any]) -> dict[str, Any]:
    """A nodule's predictions alone: nothing in it needs a reference."""
    return {"nodule_id": nodule["nodule_id"], **prediction_columns(nodule), **_volume(nodule)}


def prediction_columns(nodule: Mapping[str, Any]) -> dict[str, float]:
    """Scores: ``malignancy_prob``, its range, ``<attribute>_pred`` (original scale), ``<attribute>_prob``, others."""
    prediction: Prediction = nodule["prediction"]
    return {
        **{name: float(nodule[name][0]) for name in SCORES if name in nodule},
        **_interval(prediction),
        **{f"{name}_pred": value for name, value in prediction.attributes.items()},
        **{f"{name}_prob": value for name, value in prediction.attribute_probs.items()},
        **prediction.other_scores,
    }


def _interval(prediction: Prediction) -> dict[str, float]:
    """``malignancy_prob_min`` and ``malignancy_prob_max``, where mirrored copies were scored."""
    return {} if prediction.interval is None else dict(zip(INTERVAL, prediction.interval, strict=True))


def as_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows as a table, no number rounded: near 0 and 1 scores that differ would become ties."""
    return pd.DataFrame(list(rows))


def high_columns(nodule: Mapping[str, Any]) -> dict[str, float]:
    """Whether readers called each predicted attribute high; nothing where one of them was not rated."""
    names = nodule["prediction"].attribute_probs
    highs = np.asarray(nodule["highs"]) if names else np.array([np.nan])
    if np.isnan(highs).any():
        return {}
    return {f"{name}_high": high for name, high in zip(names, highs.tolist(), strict=True)}


def _segmentation(nodule: Mapping[str, Any]) -> dict[str, float]:
    """Measures on the view's grid, on the VOI's own voxels, and of the threshold baseline."""
    if "segmentation" not in nodule:
        return {}
    patch, reference = nodule["patch"], np.moveaxis(np.asarray(nodule["label"])[0, 0], 2, 0) > 0.5
    overlap = Overlap.of(nodule["segmentation"], reference)
    threshold = threshold_mask(patch.sample(np.asarray(nodule["ct"])), patch)
    mask = nodule["prediction"].mask
    return {
        **overlap.measures(),
        **_coarse(nodule["prediction"], reference),
        "dice_voi": Overlap.of(mask, nodule["mask"] > 0).measures()["dice"],
        "threshold_dice": Overlap.of(threshold, reference).measures()["dice"],
        "volume_mm3": float(mask.sum() * np.prod(nodule["spacing"])),
        **vars(overlap),
    }


def _coarse(prediction: Prediction, reference: np.ndarray) -> dict[str, float]:
    if "coarse" not in prediction.maps:
        return {}
    return {"coarse_dice": Overlap.of(prediction.on_patch("coarse"), reference).measures()["dice"]}


def _volume(nodule: Mapping[str, Any]) -> dict[str, float]:
    prediction: Prediction = nodule["prediction"]
    return {"volume_mm3": float(prediction.mask.sum() * np.prod(nodule["spacing"]))} if prediction.maps else {}
