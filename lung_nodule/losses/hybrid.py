"""The hybrid segmentation loss of MT-Net."""

from __future__ import annotations

import torch
from lung_nodule.losses.rank import RankLoss
from monai.losses import DiceLoss
from torch import nn


class HybridLoss(nn.Module):
    """Dice loss plus weighted rank loss (MT-Net, eqs. 1-3): ``L = Dice + 0.02 * Rank``.

    The Dice term is MONAI's, per image, with a smoothing term in the denominator alone as in eq. 2. The paper calls
    the weight lambda in section 3.2.5 and gamma elsewhere.

    Args:
        gamma: weight of the rank loss; with 0 it is not computed (the first point of Fig. 8).
        k: hard pixels per class and image.
        margin: of the rank loss, in probability.
    """

    def __init__(self, *, gamma: float = 0.02, k: int = 20, margin: float = 0.3) -> None:
        super().__init__()
        self.dice = DiceLoss(sigmoid=True, smooth_nr=0.0, smooth_dr=1e-5)
        self.rank = RankLoss(k=k, margin=margin)
        self.gamma = gamma

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits and 0/1 target, both ``[N, 1, H, W]`` -> the loss, a scalar."""
        logits = logits.float()
        dice = self.dice(logits, target)
        return dice + self.gamma * self.rank(logits, target) if self.gamma else dice
