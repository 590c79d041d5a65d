"""What every view of a nodule starts from: where the nodule lies in its VOI, and the HU window."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from lung_nodule.errors import InputError


def position_of(data: Mapping[Hashable, Any]) -> dict[str, tuple]:
    """``shape`` (voxels), ``spacing`` (mm) and ``center`` (fractional voxel index) of an item: a patch's own."""
    return {
        "shape": tuple(int(n) for n in data["ct"].shape),
        "spacing": tuple(float(s) for s in data["spacing"]),
        "center": tuple(float(c) for c in data["center"]),
    }


def checked_window(hu_window: Sequence[float]) -> tuple[float, float]:
    """The HU that become 0 and 1.

    Raises:
        InputError: not two numbers, the lower one first.
    """
    try:
        lower, upper = (float(hu) for hu in hu_window)
    except (TypeError, ValueError):
        lower, upper = 0.0, 0.0
    if not lower < upper:
        raise InputError(f"hu_window must be two numbers in HU, the lower one first, got {hu_window!r}")
    return lower, upper
