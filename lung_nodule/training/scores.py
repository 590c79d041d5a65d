"""MTMR-Net between its engines and its nodules: slices one by one, slices to nodule."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from lung_nodule.data import original_scale
from lung_nodule.lidc import ATTRIBUTES
from monai.inferers import Inferer
from monai.transforms import Transform


class EachSlice(Inferer):
    """Run a 2-D network that gives scores on every slice of one nodule.

    MONAI's ``SliceInferer`` puts maps back into a volume; scores have no place in one.

    Args:
        batch_size: slices that the network sees at once.
    """

    def __init__(self, *, batch_size: int = 16) -> None:
        super().__init__()
        self.batch_size = batch_size

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """``[1, C, H, W, S]`` -> the network's scores ``[S, K]``."""
        slices = inputs[0].movedim(-1, 0)
        return torch.cat([network(part, *args, **kwargs) for part in slices.split(self.batch_size)])


class MeanOfSlices(Transform):
    """From the scores of a nodule's slices to the nodule's (MTMR-Net, section 3.1: the slices' mean).

    Takes ``pred`` ``[S, 1]`` or ``[S, 9]`` in 0..1: malignancy and, where they are predicted, the eight attributes.
    Adds ``malignancy_prob`` (float32 ``[1]``) and ``attributes``, a dict of numbers on the readers' own scales.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        scores = torch.as_tensor(data["pred"]).detach().float().cpu().mean(dim=0)
        result = {**data, "malignancy_prob": scores[:1]}
        if len(scores) > 1:
            result["attributes"] = dict(zip(ATTRIBUTES, original_scale(scores[1:].numpy()).tolist(), strict=True))
        return result
