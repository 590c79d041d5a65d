"""MTMR-Net's adaptive square: a patch that grows with the declared diameter of a nodule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .intensity import window
from .patch import SlicePatch


@dataclass(frozen=True)
class AdaptiveSquare:
    """Which square around a nodule is looked at, and how its HU become 0..1.

    Args:
        factor: edge of the square over the declared diameter.
        minimum_mm: smallest edge in mm.
        central: share of the edge that is looked at when nothing is random.
        stretch_each: scale every slice from its own darkest to its own brightest pixel instead of by the HU window.
    """

    factor: float = 1.5
    minimum_mm: float = 24.0
    central: float = 1.0
    stretch_each: bool = False

    def edge_mm(self, diameter_mm: float) -> float:
        """Edge of the square in mm.

        Raises:
            ValueError: the diameter is no positive length.
        """
        if not (np.isfinite(diameter_mm) and diameter_mm > 0):
            raise ValueError(
                f"the square around a nodule needs its diameter in mm, a positive number, got {diameter_mm}"
            )
        return max(self.minimum_mm, self.factor * float(diameter_mm))

    def sample(self, ct: np.ndarray, patch: SlicePatch, hu_window: tuple[float, float]) -> np.ndarray:
        """The patch's slices of a CT ``[X, Y, Z]`` in HU: float32 ``[S, H, W]`` in 0..1."""
        if not self.stretch_each:
            return patch.sample(window(ct, *hu_window))
        stack = patch.sample(ct)
        low, high = stack.min(axis=(1, 2), keepdims=True), stack.max(axis=(1, 2), keepdims=True)
        return (stack - low) / np.maximum(high - low, 1.0)


SQUARES = {
    "adaptive": AdaptiveSquare(),
    "paper_code": AdaptiveSquare(factor=1.0, minimum_mm=0.0, central=0.875, stretch_each=True),
}
"""``adaptive``: half a diameter of surroundings, nothing lost at the border. ``paper_code``: the square of the released
code, tight around the nodule and, when nothing is random, cut to 0.875 of it, each patch scaled for itself."""
