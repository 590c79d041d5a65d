"""The readers' rating scales as the numbers 0..1 that a network is trained with."""

from __future__ import annotations

import numpy as np

from ..lidc import ATTRIBUTES, HIGHEST_RATING

RATING_RANGE = np.array([HIGHEST_RATING[attribute] - 1 for attribute in ATTRIBUTES], dtype=np.float32)
"""Highest less lowest rating of each of :data:`lung_nodule.lidc.ATTRIBUTES`."""


def original_scale(scaled: np.ndarray) -> np.ndarray:
    """``[..., 8]`` in 0..1 -> the readers' scales (1-5; internal structure 1-4, calcification 1-6)."""
    return np.asarray(scaled, dtype=np.float32) * RATING_RANGE + 1
