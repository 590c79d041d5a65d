"""Image and targets of a batch, for an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines import PrepareBatch


class PrepareTargets(PrepareBatch):
    """Image and targets of a batch, on the engine's device.

    Args:
        targets: a key of the batch, whose tensor is the target (``"label"`` for the mask, ``"malignancy"`` for the
            class); several keys, whose tensors the loss takes as one dict; none (inference) when not given.
    """

    def __init__(self, targets: str | Sequence[str] | None = None) -> None:
        self.targets = targets

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | dict[str, torch.Tensor] | None]:
        image = batchdata["image"].to(device=device, non_blocking=non_blocking, **kwargs)
        if self.targets is None:
            return image, None
        if isinstance(self.targets, str):
            return image, batchdata[self.targets].to(device=device, non_blocking=non_blocking)
        return image, {key: batchdata[key].to(device=device, non_blocking=non_blocking) for key in self.targets}
