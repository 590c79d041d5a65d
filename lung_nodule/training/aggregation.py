"""Slices to nodule, after the network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lung_nodule.core import MASK_THRESHOLD, central_component, nodule_score, slice_weights
from monai.transforms import Transform


class AggregateSlices(Transform):
    """From the maps of a nodule's slices to its score and masks, with the functions that the served steps use.

    Takes ``pred`` ``[1, C, H, W, S]``, the probabilities of one nodule by channel, and ``patch``. Adds
    ``malignancy_prob`` (float32 ``[1]``) where a channel is called ``malignancy``; for each segmentation channel, under
    its name, the float32 probability ``[S, H, W]``; ``probability``, the finest of them; and ``segmentation``, that at
    0.5, restricted to the component at the nodule's centre.

    Args:
        channels: names of the channels of ``pred``; the first must be ``coarse``, whose mask weighs the slices.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        if not channels or channels[0] != "coarse":
            raise ValueError(f"the first channel must be 'coarse', whose mask weighs the slices, got {list(channels)}")
        self.channels = tuple(channels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        maps = torch.as_tensor(data["pred"])[0].detach().float().cpu().numpy()
        stacks = {name: np.moveaxis(maps[index], 2, 0) for index, name in enumerate(self.channels)}
        patch = data["patch"]
        result = dict(data)
        if "malignancy" in stacks:
            scores = stacks.pop("malignancy")[:, 0, 0]
            score = nodule_score(scores, slice_weights(stacks["coarse"], patch))
            result["malignancy_prob"] = torch.tensor([score], dtype=torch.float32)
        finest = stacks.get("fine", stacks["coarse"])
        mask = central_component(finest >= MASK_THRESHOLD, patch.central_pixel, patch.pixel_spacing)
        return {**result, **stacks, "probability": finest, "segmentation": mask}


def segmentation_and_label(output: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """For MONAI's metric handlers: a nodule's final mask and its reference, both ``[1, 1, H, W, S]``."""
    segmentation = torch.from_numpy(np.moveaxis(output["segmentation"], 0, 2)[None, None].astype(np.float32))
    return segmentation, output["label"].cpu()
