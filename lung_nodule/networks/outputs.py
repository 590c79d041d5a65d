"""One tensor of a network that gives several, by sharing the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class AsPredictor(nn.Module):
    """A network in training as its predictor, for validation. The weights are shared.

    Args:
        network: one of the bundles' networks.
        options: options of its ``predict``.
    """

    def __init__(self, network: nn.Module, **options: Any) -> None:
        super().__init__()
        self.network: Any = network  # nn.Module declares no predict
        self.options = options

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images ``[N, C, ...]`` -> the one tensor of the network's ``predict``."""
        return self.network.predict(image, **self.options)


class OneOutput(nn.Module):
    """One of the tensors that a network gives in training (activation maps need a network with one output).

    Args:
        network: one of the bundles' networks.
        key: key of the wanted tensor, e.g. ``logits``.
    """

    def __init__(self, network: nn.Module, *, key: str) -> None:
        super().__init__()
        self.network: Any = network  # nn.Module declares no outputs
        self.key = key

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` -> the tensor called ``key``."""
        return self.network.outputs(image)[self.key]
