"""Scores and masks of the end-to-end multi-task network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lung_nodule.core import MASK_THRESHOLD, central_component
from monai.handlers import ROCAUC
from monai.transforms import Transform


class AggregateCube(Transform):
    """From the maps of one nodule's cube to its scores and its mask.

    Takes ``pred`` ``[1, C, H, W, S]`` as :class:`~lung_nodule.networks.AsCubeMaps` gives it, ``patch``, ``inside`` and,
    where readers rated the nodule, ``highs``. Adds ``probability`` (float32 ``[S, H, W]``), ``segmentation`` (at 0.5,
    within the scan, restricted to the component at the centre), ``malignancy_prob`` (float32 ``[1]``; NaN of a network
    that does not classify) beside ``malignancy_label``, ``attribute_probs`` and ``attribute_highs`` by attribute.

    Args:
        attributes: names of the attributes in the order of the channels.
    """

    def __init__(self, attributes: Sequence[str]) -> None:
        self.attributes = tuple(attributes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        maps = torch.as_tensor(data["pred"])[0].detach().float().cpu().numpy()
        probability, inside = (np.moveaxis(volume, 2, 0) for volume in (maps[0], np.asarray(data["inside"])[0]))
        patch, scores = data["patch"], maps[1:, 0, 0, 0]
        mask = central_component(
            (probability >= MASK_THRESHOLD) & (inside > 0.5), patch.central_pixel, patch.pixel_spacing
        )
        return {
            **data,
            **self._classes(scores, np.asarray(data["highs"])),
            "malignancy_label": torch.as_tensor(data["malignancy"]).cpu(),
            "probability": np.ascontiguousarray(probability),
            "segmentation": mask,
        }

    def _classes(self, scores: np.ndarray, highs: np.ndarray) -> dict[str, Any]:
        if not len(scores):
            return {"malignancy_prob": torch.full((1,), torch.nan)}
        probs = dict(zip(self.attributes, scores[1:].tolist(), strict=True))
        rated = dict(zip(self.attributes, highs.tolist(), strict=True)) if not np.isnan(highs).any() else {}
        return {
            "malignancy_prob": torch.tensor(scores[:1]),
            "attribute_probs": probs,
            **({"attribute_highs": rated} if rated else {}),
        }


class LabelledROCAUC(ROCAUC):
    """MONAI's area under the ROC curve over the nodules that have a class."""

    def update(self, output: Sequence[torch.Tensor]) -> None:
        """Scores and labels of an iteration; labels that are NaN are passed over."""
        score, label = output
        if not torch.isnan(label).any():
            super().update((score, label))


def score_and_class(output: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """For MONAI's metric handlers: a nodule's malignancy and its class, both ``[1, 1]``."""
    return output["malignancy_prob"][None], output["malignancy_label"].reshape(1, 1)
