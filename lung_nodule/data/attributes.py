"""The readers' ratings beside malignancy: on their own scales, on 0..1, and called high or low."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES, HIGHEST_RATING

ATTRIBUTE_COLUMNS = tuple(f"{attribute}_mean" for attribute in ATTRIBUTES)
HIGH_COLUMNS = tuple(f"{attribute}_mean" for attribute in ATTRIBUTE_THRESHOLDS)

_RANGE = np.array([HIGHEST_RATING[attribute] - 1 for attribute in ATTRIBUTES], dtype=np.float32)


def scaled_attributes(item: Mapping[str, Any]) -> np.ndarray:
    """float32 ``[8]`` in 0..1: the mean ratings of :data:`~lung_nodule.lidc.ATTRIBUTES`, (rating - 1) / (highest - 1).

    A rating beyond its scale (``preprocessing`` flags it) counts as the scale's end.
    """
    ratings = np.array([item[column] for column in ATTRIBUTE_COLUMNS], dtype=np.float32)
    return np.clip((ratings - 1) / _RANGE, 0, 1)


def original_scale(scaled: np.ndarray) -> np.ndarray:
    """``[..., 8]`` in 0..1 -> the readers' scales (1-5; internal structure 1-4, calcification 1-6)."""
    return np.asarray(scaled, dtype=np.float32) * _RANGE + 1


def attribute_medians(datalist: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The constant that every attribute's error is compared with: the median of the readers' means in a datalist."""
    return {attribute: float(np.median([item[f"{attribute}_mean"] for item in datalist])) for attribute in ATTRIBUTES}


def binary_attributes(item: Mapping[str, Any]) -> np.ndarray:
    """float32 ``[7]``: 1 where the readers' mean reaches :data:`~lung_nodule.lidc.ATTRIBUTE_THRESHOLDS`, else 0.

    NaN where an item has no rating.
    """
    ratings = np.array([item.get(column, np.nan) for column in HIGH_COLUMNS], dtype=np.float32)
    high = ratings >= np.array(list(ATTRIBUTE_THRESHOLDS.values()), dtype=np.float32)
    return np.where(np.isnan(ratings), np.nan, high).astype(np.float32)
