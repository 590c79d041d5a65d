"""From the views' probabilities to a nodule's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fusion_weights(aucs: Sequence[float]) -> np.ndarray:
    """Each view's share of the sum of the views' AUCs (MT-CNN, Algorithm 1, line 7).

    Args:
        aucs: ``[V]``, on nodules that the views were not trained on and that are not the test's.

    Returns:
        float64 ``[V]`` that add up to 1.

    Raises:
        ValueError: an AUC is not a number between 0 and 1, or all are 0.
    """
    values = np.asarray(aucs, dtype=float)
    if not ((values >= 0) & (values <= 1)).all() or not values.sum() > 0:
        raise ValueError(f"AUCs lie between 0 and 1 and not all at 0, got {values.tolist()}")
    return values / values.sum()


def fused_score(probabilities: np.ndarray, weights: Sequence[float]) -> float:
    """The weighted mean of the views' probabilities of one nodule (MT-CNN, eq. 4).

    Args:
        probabilities: ``[V]`` in 0..1.
        weights: ``[V]``, of :func:`fusion_weights`.

    Raises:
        ValueError: the numbers of views differ.
    """
    if np.shape(probabilities) != np.shape(weights):
        raise ValueError(f"{np.shape(probabilities)} view probabilities do not fit {np.shape(weights)} weights")
    return float(np.average(probabilities, weights=weights))
