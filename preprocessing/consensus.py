"""What a nodule's readers agree on: any fraction of them, named policies, and the soft mean.

=========== ========================================================================================================
0.5         at least half of the readers, the literature's default: the union for two readers, two of four
majority    more than half of the readers: both of two, two of three, three of four
2/3         at least two thirds of the readers: both of two, two of three, three of four, four of six
=========== ========================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from lung_nodule.io import InputError

MAJORITY = "majority"


def checked_policy(policy: object) -> float | str:
    """A consensus policy in the one way that settings and tables write it: a float, ``majority`` or ``2/3``.

    Raises:
        InputError: it is no fraction above 0 and at most 1, and none of the names.
    """
    if policy in (MAJORITY, "2/3"):
        return str(policy)
    try:
        level = float("nan") if isinstance(policy, bool) else float(policy)
    except (TypeError, ValueError):
        level = math.nan
    if not 0 < level <= 1:
        raise InputError(
            f"--consensus is a fraction of the readers, above 0 and at most 1, or {MAJORITY} or 2/3; got {policy!r}"
        )
    return level


def votes_needed(policy: float | str, readers: int) -> int:
    """How many of a nodule's readers must have marked a voxel.

    Raises:
        InputError: no such policy.
    """
    checked = checked_policy(policy)
    if checked == MAJORITY:
        return readers // 2 + 1
    level = Fraction(checked) if isinstance(checked, str) else checked
    return math.ceil(level * readers - 1e-9)


def consensus(masks: Sequence[np.ndarray], *, level: float | str) -> np.ndarray:
    """Voxels that enough of the readers marked.

    Args:
        masks: one bool array per reader, all of one shape.
        level: a fraction of the readers, 0 < level <= 1, or ``majority`` or ``2/3``.

    Raises:
        InputError: no such policy.
    """
    return np.sum(masks, axis=0) >= votes_needed(level, len(masks))


def soft_mean(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Share of the readers who marked each voxel, float32 in 0..1, of the masks' shape."""
    return np.mean(masks, axis=0, dtype=np.float32)
