"""Measures of masks and scores, their confidence intervals, and the trivial predictors that they are compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd
import torch
from lung_nodule.core import Patch, central_component
from lung_nodule.lidc import MASK_ABOVE_HU
from monai.metrics import compute_confusion_matrix_metric, get_confusion_matrix
from scipy.stats import rankdata

SIZE_BASELINES = {
    "diameter_mm": "the readers' mean diameter alone",
    "crop_extent_mm": "the extent of the crop along z alone (what a tight crop gives away)",
}
OVERLAP_MEASURES = {
    "dice": "f1_score",
    "jaccard": "threat_score",
    "accuracy": "accuracy",
    "recall": "sensitivity",
    "specificity": "specificity",
}
"""Name of each measure here and in MONAI."""


@dataclass(frozen=True)
class Overlap:
    """Counts of a binary prediction against a reference, and the five segmentation measures (MT-Net, eqs. 7-11).

    Counts add up, so measures over many nodules can be pooled (micro) as well as averaged (macro).

    Example:
        >>> import numpy as np
        >>> from lung_nodule.evaluation import Overlap
        >>> overlap = Overlap.of(np.array([[1, 1], [0, 0]]), np.array([[1, 0], [1, 0]]))
        >>> overlap
        Overlap(true_positive=1, false_positive=1, false_negative=1, true_negative=1)
        >>> overlap.measures()["dice"]
        0.5
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @classmethod
    def of(cls, prediction: np.ndarray, reference: np.ndarray) -> Overlap:
        """Counts of two masks, or two vectors of decisions, of one shape.

        Raises:
            ValueError: the shapes differ.
        """
        if prediction.shape != reference.shape:
            raise ValueError(f"prediction {prediction.shape} and reference {reference.shape} differ in shape")
        if not prediction.size:
            return cls(0, 0, 0, 0)
        # Row by row: MONAI counts in float32, which is exact up to 2**24 pixels.
        p, r = (torch.from_numpy(mask.astype(bool).astype(np.uint8))[:, None] for mask in (prediction, reference))
        tp, fp, tn, fn = get_confusion_matrix(p, r).long().sum(dim=(0, 1)).tolist()
        return cls(tp, fp, fn, tn)

    @classmethod
    def pooled(cls, overlaps: Iterable[Overlap]) -> Overlap:
        """The counts of all together."""
        return cls(*(int(total) for total in np.sum([astuple(overlap) for overlap in overlaps], axis=0)))

    def measures(self) -> dict[str, float]:
        """Dice, Jaccard, accuracy, recall and specificity; NaN where a denominator is 0."""
        return {name: self.measure(monai_name) for name, monai_name in OVERLAP_MEASURES.items()}

    def measure(self, name: str) -> float:
        """One of the measures that :func:`monai.metrics.compute_confusion_matrix_metric` knows."""
        tp, fp, fn, tn = astuple(self)
        return compute_confusion_matrix_metric(name, torch.tensor([tp, fp, tn, fn], dtype=torch.float64)).item()


def area_under_curve(score: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; NaN where a class is missing.

    By ranks (Mann-Whitney): intervals ask for it thousands of times.
    """
    positive = np.asarray(label) > 0.5
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return float("nan")
    ranks = rankdata(np.asarray(score))
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def classification_metrics(probability: np.ndarray, label: np.ndarray, *, threshold: float = 0.5) -> dict[str, float]:
    """Accuracy, AUC, sensitivity and specificity (MT-Net, eqs. 4-6); NaN where a class is missing.

    Args:
        probability: ``[N]`` malignancy per nodule.
        label: ``[N]`` 1 for malignant, 0 for benign, in the readers' opinion.
        threshold: probability from which a nodule is called malignant.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.evaluation import classification_metrics
        >>> classification_metrics(np.array([0.9, 0.6, 0.4, 0.1]), np.array([1, 1, 1, 0]))["auc"]
        1.0
    """
    real = np.asarray(label) > 0.5
    counts = Overlap.of(np.asarray(probability) >= threshold, real)
    return {
        "accuracy": counts.measure("accuracy"),
        "auc": area_under_curve(np.asarray(probability), real),
        "sensitivity": counts.measure("sensitivity"),
        "specificity": counts.measure("specificity"),
    }


def threshold_mask(ct: np.ndarray, patch: Patch, *, threshold_hu: float = MASK_ABOVE_HU) -> np.ndarray:
    """Everything denser than a threshold that is connected to the nodule's centre.

    Args:
        ct: ``[S, H, W]`` in HU.
        patch: patch of the slices.
        threshold_hu: lower bound in HU; -400 HU lies between lung and soft tissue.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.core import SlicePatch
        >>> from lung_nodule.evaluation import threshold_mask
        >>> ct = np.full((3, 20, 20), -850)
        >>> ct[:, 8:12, 8:12] = 30  # the nodule
        >>> ct[:, :3, :3] = 30  # the chest wall
        >>> patch = SlicePatch((20, 20, 3), (1.0, 1.0, 1.0), (10.0, 10.0, 1.0), 20.0, 20)
        >>> int(threshold_mask(ct, patch).sum())
        48
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
