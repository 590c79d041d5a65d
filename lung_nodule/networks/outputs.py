"""One tensor of a network that gives several."""

from __future__ import annotations

import torch
from torch import nn


class OneOutput(nn.Module):
    """A network whose output is a dict, as a network whose output is one of its tensors (activation maps need that).

    Args:
        network: takes slices, gives a dict of tensors.
        key: of the tensor wanted, e.g. ``logits``.
    """

    def __init__(self, network: nn.Module, *, key: str) -> None:
        super().__init__()
        self.network = network
        self.key = key

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` -> the tensor called ``key``."""
        return self.network(image)[self.key]
