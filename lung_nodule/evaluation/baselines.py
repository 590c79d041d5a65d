"""What needs no network: the figures that every accuracy stands beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
from lung_nodule.core import SlicePatch, central_component
from lung_nodule.evaluation.classification import area_under_curve

SIZE_BASELINES = {
    "diameter_mm": "the readers' mean diameter alone",
    "crop_extent_mm": "the extent of the crop along z alone (what a tight crop gives away)",
}


def threshold_mask(ct: np.ndarray, patch: SlicePatch, *, threshold_hu: float = -400.0) -> np.ndarray:
    """Everything denser than a threshold that hangs together with the nodule's centre.

    Args:
        ct: ``[S, H, W]`` in HU.
        patch: the patch that the slices belong to.
        threshold_hu: -400 HU lies between lung and soft tissue.
    """
    return central_component(ct > threshold_hu, patch.central_pixel, patch.pixel_spacing)


def size_aucs(table: pd.DataFrame) -> dict[str, float]:
    """AUC of each size measure of :data:`SIZE_BASELINES` for the label ``malignant`` on the same nodules."""
    label = table["malignant"].to_numpy() > 0.5
    return {column: area_under_curve(table[column].to_numpy(), label) for column in SIZE_BASELINES}


def majority_accuracy(label: np.ndarray) -> float:
    """Accuracy of always calling the more frequent class.

    Args:
        label: bool ``[N]``.
    """
    share = float(np.asarray(label).mean())
    return max(share, 1 - share)
