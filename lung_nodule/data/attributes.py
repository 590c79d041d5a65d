"""The eight attributes that readers rate beside malignancy, on their own scales and on 0..1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ATTRIBUTES = (
    "subtlety",
    "internal_structure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
)
ATTRIBUTE_MAXIMUM = {**dict.fromkeys(ATTRIBUTES, 5), "internal_structure": 4, "calcification": 6}
ATTRIBUTE_COLUMNS = tuple(f"{attribute}_mean" for attribute in ATTRIBUTES)

_RANGE = np.array([ATTRIBUTE_MAXIMUM[attribute] - 1 for attribute in ATTRIBUTES], dtype=np.float32)


def scaled_attributes(item: Mapping[str, Any]) -> np.ndarray:
    """float32 ``[8]`` in 0..1: the readers' mean ratings of :data:`ATTRIBUTES`, (rating - 1) / (maximum - 1).

    A rating beyond its scale (``preprocessing`` flags it) counts as the scale's end.
    """
    ratings = np.array([item[column] for column in ATTRIBUTE_COLUMNS], dtype=np.float32)
    return np.clip((ratings - 1) / _RANGE, 0, 1)


def original_scale(scaled: np.ndarray) -> np.ndarray:
    """``[..., 8]`` in 0..1 -> the readers' scales (1-5; internal structure 1-4, calcification 1-6)."""
    return np.asarray(scaled, dtype=np.float32) * _RANGE + 1


def attribute_medians(datalist: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The constant that every attribute's error stands beside: the median of the readers' means in a datalist."""
    return {attribute: float(np.median([item[f"{attribute}_mean"] for item in datalist])) for attribute in ATTRIBUTES}
