"""The HU window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError


def window(hu: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Clip Hounsfield units to ``[lower, upper]`` and scale them linearly to ``[0, 1]``.

    Args:
        hu: array of any shape, in HU.
        lower: HU that becomes 0.
        upper: HU that becomes 1.

    Returns:
        float32 array of the same shape.

    Raises:
        ValueError: ``lower`` is not below ``upper``.
    """
    if not lower < upper:
        raise ValueError(f"the HU window needs lower < upper, got {lower}..{upper}")
    scaled = (np.asarray(hu, dtype=np.float32) - np.float32(lower)) / np.float32(upper - lower)
    return np.clip(scaled, 0.0, 1.0)


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
