"""A tiny network, in the shape that every method's has: ``outputs`` for the loss, ``predict`` for the one tensor."""

from __future__ import annotations

import torch
from torch import nn


class ToyNet(nn.Module):
    """The mean of a convolution's channels, and a linear layer.

    Args:
        width: factor on its eight channels.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        channels = max(1, round(8 * width))
        self.features = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU())
        self.classifier = nn.Linear(channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` -> logits ``[N, 1]``."""
        return self.classifier(self.features(image).mean(dim=(2, 3)))

    def predict(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` -> probabilities ``[N, 1]``."""
        return torch.sigmoid(ToyNet.forward(self, image))


class ToyPredictor(ToyNet):
    """:class:`ToyNet` that gives probabilities."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` -> probabilities ``[N, 1]``."""
        return self.predict(image)
