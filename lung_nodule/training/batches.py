"""What the trainer takes from a batch of slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch


class PrepareSlices(PrepareBatch):
    """Image and one target of a batch, on the engine's device.

    Args:
        target: ``"label"`` for the mask, ``"malignancy"`` for the class; none (inference) when not given.
    """

    def __init__(self, target: str | None = None) -> None:
        self.target = target

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        image = batchdata["image"].to(device=device, non_blocking=non_blocking, **kwargs)
        if self.target is None:
            return image, None
        return image, batchdata[self.target].to(device=device, non_blocking=non_blocking)
