"""The readers' ratings besides malignancy: on their own scales, on 0..1, and as high or low."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lung_nodule.core import RATING_RANGE
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES

ATTRIBUTE_COLUMNS = tuple(f"{attribute}_mean" for attribute in ATTRIBUTES)
HIGH_COLUMNS = tuple(f"{attribute}_mean" for attribute in ATTRIBUTE_THRESHOLDS)


def scaled_attributes(item: Mapping[Any, Any]) -> np.ndarray:
    """float32 ``[8]`` in 0..1: the mean ratings of :data:`~lung_nodule.lidc.ATTRIBUTES`, (rating - 1) / (highest - 1).

    A rating beyond its scale (``preprocessing`` flags it) counts as the scale's end.
    """
    ratings = np.array([item[column] for column in ATTRIBUTE_COLUMNS], dtype=np.float32)
    return np.clip((ratings - 1) / RATING_RANGE, 0, 1)


def attribute_medians(datalist: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Median of the readers' means in a datalist, the constant that every attribute's error is compared with."""
    return {attribute: float(np.median([item[f"{attribute}_mean"] for item in datalist])) for attribute in ATTRIBUTES}


def binary_attributes(item: Mapping[Any, Any]) -> np.ndarray:
    """float32 ``[7]``: 1 where the readers' mean reaches :data:`~lung_nodule.lidc.ATTRIBUTE_THRESHOLDS`, else 0.

    NaN where an item has no rating.
    """
    ratings = np.array([item.get(column, np.nan) for column in HIGH_COLUMNS], dtype=np.float32)
    high = ratings >= np.array(list(ATTRIBUTE_THRESHOLDS.values()), dtype=np.float32)
    return np.where(np.isnan(ratings), np.nan, high).astype(np.float32)
