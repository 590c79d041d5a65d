"""A method's prediction for one nodule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..components import MASK_THRESHOLD, central_component, nodule_mask
from ..cube_patch import CubePatch
from ..slice_patch import SlicePatch


@dataclass(frozen=True, eq=False)
class Prediction:
    """A nodule's scores and, where the method segments, its maps.

    Attributes:
        patch: position of the maps in the VOI.
        score: probability of the class that the network was trained to predict, as a rule malignancy; None if the
            method has no score, NaN if this network was built without its classifier.
        maps: probability maps float32 ``[S, H, W]`` on the patch's grid, by name; the mask is made of the last one.
        attributes: the readers' characteristics on their own scales, by name.
        attribute_probs: probability that a characteristic is high, by name.
        other_scores: further probabilities besides ``score``, by name.
        measured: measurements of the nodule by name, where the view was asked for them.
        draws: the score of each mirrored copy, where the view made some.
    """

    patch: SlicePatch | CubePatch
    score: float | None = None
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, float] = field(default_factory=dict)
    attribute_probs: Mapping[str, float] = field(default_factory=dict)
    other_scores: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    draws: tuple[float, ...] = ()

    def with_values(self, **changes: Any) -> Prediction:
        """The prediction with other values beside its maps; a mask that was made of them is kept.

        Args:
            changes: new values of attributes other than ``patch`` and ``maps``.
        """
        changed = replace(self, **changes)
        if "mask" in vars(self):
            vars(changed)["mask"] = self.mask
        return changed

    @property
    def interval(self) -> tuple[float, float] | None:
        """The smallest and the largest score of the mirrored copies; None without copies.

        It shows how far the score moves when nothing about the nodule changes, and is not a confidence interval.
        """
        return (min(self.draws), max(self.draws)) if self.draws else None

    @property
    def probability(self) -> np.ndarray:
        """The map that the mask is made of, float32 ``[S, H, W]`` on the patch's grid.

        Raises:
            ValueError: the method does not segment.
        """
        if not self.maps:
            raise ValueError("this method gives no maps, so there is no mask: ask for its score")
        return list(self.maps.values())[-1]

    def on_patch(self, name: str | None = None) -> np.ndarray:
        """bool ``[S, H, W]``: a map (the last one) at 0.5, within the scan, restricted to the central component."""
        chosen = self.probability if name is None else self.maps[name]
        mask = chosen >= MASK_THRESHOLD
        inside = self.patch.inside
        if inside is not None:
            mask = mask & inside
        return central_component(mask, self.patch.central_pixel, self.patch.pixel_spacing)

    def on_voi(self, name: str) -> np.ndarray:
        """A map on the VOI's grid, float32 ``[X, Y, Z]`` in 0..1, 0 outside the patch."""
        return np.clip(self.patch.restore(self.maps[name]), 0, 1)  # interpolation rounds to 1 + 2e-7

    @cached_property
    def mask(self) -> np.ndarray:
        """The mask that a user gets: bool ``[X, Y, Z]`` on the VOI's grid."""
        patch, probability = self.patch, self.probability
        return nodule_mask(patch.restore(probability), np.array(patch.center), np.array(patch.spacing))
