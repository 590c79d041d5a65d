"""Measures of a malignancy score against the readers' label."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


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
    """
    called, real = np.asarray(probability) >= threshold, np.asarray(label) > 0.5
    return {
        "accuracy": _share(called == real),
        "auc": area_under_curve(np.asarray(probability), real),
        "sensitivity": _share(called[real]),
        "specificity": _share(~called[~real]),
    }


def _share(true: np.ndarray) -> float:
    return float(true.mean()) if len(true) else float("nan")
