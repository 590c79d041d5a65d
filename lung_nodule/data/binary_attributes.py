"""The seven attributes of the end-to-end multi-task network, called high or low."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

HIGH_FROM = {
    "texture": 3.5,
    "spiculation": 3.5,
    "lobulation": 3.5,
    "margin": 3.5,
    "sphericity": 3.5,
    "calcification": 5.5,
    "subtlety": 3.5,
}
"""The mean rating from which an attribute is high, in the order of the slides' Table III.

The slides show 0/1 and print no threshold; these are the ones of the same laboratory's public code. A high
calcification means that there is none (6 is "absent").
"""

HIGH_COLUMNS = tuple(f"{attribute}_mean" for attribute in HIGH_FROM)


def binary_attributes(item: Mapping[str, Any]) -> np.ndarray:
    """float32 ``[7]``: 1 where the readers' mean is high, 0 where it is low, NaN where an item has no rating."""
    ratings = np.array([item.get(column, np.nan) for column in HIGH_COLUMNS], dtype=np.float32)
    high = ratings >= np.array(list(HIGH_FROM.values()), dtype=np.float32)
    return np.where(np.isnan(ratings), np.nan, high).astype(np.float32)
