"""A small view, the one slice nearest the nodule's centre: outside the library, as a served step would load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lung_nodule.core import NoduleView, Prediction, SlicePatch, window


@dataclass(frozen=True)
class CentralSliceView(NoduleView):
    """One image ``[1, H, W]`` of a square around the centre.

    Args:
        patch_mm: edge of the square in mm.
        image_size: pixels along that edge.
        flips: whether a prediction is the mean over the images and their mirrored copies.
    """

    patch_mm: float
    image_size: int
    flips: bool = False

    channels = ("malignancy",)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> CentralSliceView:
        patch = settings["patch"]
        return cls(float(patch["patch_mm"]), int(patch["image_size"]), bool(settings.get("flips", False)))

    @property
    def image_shape(self) -> tuple[int, ...]:
        return 1, self.image_size, self.image_size

    def reach_mm(self, diameter: float | None = None) -> float:
        return self.patch_mm

    def patch(self, shape: Any, spacing: Any, center: Any, diameter: float | None = None) -> SlicePatch:
        return SlicePatch(shape, spacing, center, self.patch_mm, self.image_size, z_patch_mm=0.0)

    def images(self, ct: np.ndarray, patch: SlicePatch) -> np.ndarray:
        return patch.sample(window(ct, -1000.0, 400.0))[:1, None]

    def aggregate(self, outputs: Mapping[str, np.ndarray], patch: SlicePatch) -> Prediction:
        return Prediction(patch, float(outputs["malignancy"][0]))

    def describe(self) -> dict[str, Any]:
        return {"image_size": self.image_size, "patch_mm": self.patch_mm, "pred_channels": list(self.channels)}
