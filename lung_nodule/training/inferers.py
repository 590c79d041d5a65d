"""Inferers: mixed precision on any device, and slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lung_nodule.training.mixed_precision import has_bfloat16
from monai.inferers import Inferer, SimpleInferer


class AutocastInferer(Inferer):
    """Run another inferer under bfloat16 autocast (MONAI's trainers autocast on CUDA only).

    bfloat16 has float32's range, so no gradient scaling is needed; losses compute in float32. On a device without
    instructions for bfloat16 autocast is off (:func:`~lung_nodule.training.mixed_precision.has_bfloat16`).

    Args:
        inferer: inferer that runs the network; MONAI's ``SimpleInferer`` when not given.
        enabled: whether autocast is on.
    """

    def __init__(self, inferer: Inferer | None = None, *, enabled: bool = True) -> None:
        super().__init__()
        self.inferer = inferer or SimpleInferer()
        self.enabled = enabled

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        device = inputs.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.enabled and has_bfloat16(device)):
            return self.inferer(inputs, network, *args, **kwargs)


class EachSlice(Inferer):
    """Run a 2-D network that gives scores on every slice of one nodule.

    MONAI's ``SliceInferer`` puts maps back into a volume; scores have no place in one.

    Args:
        batch_size: number of slices that the network sees at once.
    """

    def __init__(self, *, batch_size: int = 16) -> None:
        super().__init__()
        self.batch_size = batch_size

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """``[1, C, H, W, S]`` -> the network's scores ``[S, K]``."""
        slices = inputs[0].movedim(-1, 0)
        return torch.cat([network(part, *args, **kwargs) for part in slices.split(self.batch_size)])
