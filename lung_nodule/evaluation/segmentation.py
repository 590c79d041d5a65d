"""The paper's five segmentation measures, from pixel counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np


@dataclass(frozen=True)
class Overlap:
    """Pixels of a prediction against a reference (MT-Net, eqs. 7-11).

    Counts add up, so measures over many nodules can be pooled (micro) as well as averaged (macro).
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @classmethod
    def of(cls, prediction: np.ndarray, reference: np.ndarray) -> Overlap:
        """Counts of two masks of one shape."""
        if prediction.shape != reference.shape:
            raise ValueError(f"prediction {prediction.shape} and reference {reference.shape} differ in shape")
        p, r = prediction.astype(bool), reference.astype(bool)
        hit, predicted, real = int((p & r).sum()), int(p.sum()), int(r.sum())
        return cls(hit, predicted - hit, real - hit, p.size - predicted - real + hit)

    @classmethod
    def pooled(cls, overlaps: Iterable[Overlap]) -> Overlap:
        """The counts of all together."""
        return cls(*(int(total) for total in np.sum([astuple(overlap) for overlap in overlaps], axis=0)))

    def measures(self) -> dict[str, float]:
        """Dice, Jaccard, accuracy, recall and specificity; NaN where a denominator is 0."""
        tp, fp, fn, tn = astuple(self)
        return {
            "dice": _ratio(2 * tp, 2 * tp + fp + fn),
            "jaccard": _ratio(tp, tp + fp + fn),
            "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
            "recall": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
        }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
