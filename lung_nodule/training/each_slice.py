"""Networks that give scores, slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer


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
