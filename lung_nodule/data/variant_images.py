"""The images of a nodule's fixed crops: made once and cached, one drawn whenever the nodule is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from lung_nodule.data.crops import RandCropVariant
from lung_nodule.data.nodule_view import ViewNodule
from monai.transforms import Randomizable, Transform


class VariantImages(Transform):
    """All of a nodule's crops through a method's view, for a ``CacheDataset``.

    Sampling nine planes of a padded crop with cubic splines takes longer than training on them; sampled once per crop
    it costs nothing from the second epoch on.

    Args:
        crops: fixed crops of a nodule.
        view: transform that makes the image and the target of a crop.
    """

    def __init__(self, crops: RandCropVariant, view: ViewNodule) -> None:
        self.crops = crops
        self.view = view

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, torch.Tensor]:
        """Input of the view -> ``images`` float16 ``[variants, *image]`` and ``target`` float32 ``[1]``."""
        viewed = [self.view(self.crops.variant(data, number)) for number in range(self.crops.variants)]
        return {
            "images": torch.stack([one["image"].half() for one in viewed]),
            self.view.target: viewed[0][self.view.target],
        }


class RandVariantImage(Randomizable, Transform):
    """One of the images that :class:`VariantImages` made, with equal chances."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``images`` ``[variants, *image]`` -> ``image`` float32; everything else stays."""
        kept = {key: value for key, value in data.items() if key != "images"}
        return {**kept, "image": data["images"][int(self.R.randint(len(data["images"])))].float()}
