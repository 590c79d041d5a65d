"""Mixed precision on whatever device is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer


class AutocastInferer(Inferer):
    """Run another inferer under bfloat16 autocast (MONAI's trainers autocast on CUDA only).

    bfloat16 has float32's range, so no gradient scaling is needed; losses compute in float32.

    Args:
        inferer: what runs the network; MONAI's ``SimpleInferer`` when not given.
        enabled: without it, the inferer runs as it is.
    """

    def __init__(self, inferer: Inferer | None = None, *, enabled: bool = True) -> None:
        super().__init__()
        self.inferer = inferer or SimpleInferer()
        self.enabled = enabled

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.enabled):
            return self.inferer(inputs, network, *args, **kwargs)
