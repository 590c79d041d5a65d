"""The rank loss of MT-Net."""

from __future__ import annotations

import torch
from lung_nodule.errors import LossOptionError
from torch import nn


class RankLoss(nn.Module):
    """Push the hardest foreground pixels above the hardest background pixels (MT-Net, eq. 3).

    In every image the K foreground pixels with the smallest probability and the K background pixels with the largest
    are paired: ``mean over pairs of max(0, background - foreground + margin)``, then the mean over images. An image
    with fewer than K pixels of a class pairs those it has; with none of a class its loss is 0. (The paper divides by
    K^2 whatever the pixels are; so do we wherever K pixels exist.)

    Args:
        k: hard pixels per class and image (20 published).
        margin: by how much a foreground pixel should exceed a background pixel, in probability (0.3 published).

    Raises:
        LossOptionError: ``k`` is below 1.
    """

    def __init__(self, *, k: int = 20, margin: float = 0.3) -> None:
        super().__init__()
        if k < 1:
            raise LossOptionError(f"the rank loss needs k of at least 1 pixel, got {k}")
        self.k = k
        self.margin = margin

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits and 0/1 target, both ``[N, 1, ...]`` -> the loss, a scalar.

        Raises:
            ValueError: the shapes differ.
        """
        if logits.shape != target.shape:
            raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)} differ in shape")
        probability = torch.sigmoid(logits.float()).flatten(1)
        foreground = target.flatten(1) > 0.5
        k = min(self.k, probability.shape[1])
        easy = 2.0  # beyond any probability: stands for a pixel that is not of the class
        hard_foreground = probability.masked_fill(~foreground, easy).topk(k, largest=False).values
        hard_background = probability.masked_fill(foreground, -easy).topk(k).values
        excess = hard_background[:, :, None] - hard_foreground[:, None, :] + self.margin
        real = (hard_background > -easy)[:, :, None] & (hard_foreground < easy)[:, None, :]
        pairs = real.sum(dim=(1, 2)).clamp(min=1)
        return ((excess.clamp(min=0) * real).sum(dim=(1, 2)) / pairs).mean()
