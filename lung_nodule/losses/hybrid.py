"""The segmentation loss of MT-Net: Dice plus a rank loss on the hardest pixels."""

from __future__ import annotations

import torch
from lung_nodule.errors import LossOptionError
from monai.losses import DiceLoss
from torch import nn


class RankLoss(nn.Module):
    """Push the hardest foreground pixels above the hardest background pixels (MT-Net, eq. 3).

    In every image the K foreground pixels with the smallest probability and the K background pixels with the largest
    are paired: ``mean over pairs of max(0, background - foreground + margin)``, then the mean over images. An image
    with fewer than K pixels of a class pairs those it has; with none of a class its loss is 0. (The paper divides by
    K^2 whatever the pixels are; so do we wherever K pixels exist.)

    Args:
        k: number of hard pixels per class and image (20 published).
        margin: difference in probability by which a foreground pixel should exceed a background pixel (0.3 published).

    Raises:
        LossOptionError: ``k`` is below 1.

    Example:
        >>> import torch
        >>> from lung_nodule.losses import RankLoss
        >>> target = torch.tensor([[[[1.0, 0.0]]]])
        >>> sure, wrong = torch.tensor([[[[9.0, -9.0]]]]), torch.tensor([[[[-9.0, 9.0]]]])
        >>> loss = RankLoss(k=1, margin=0.3)
        >>> f"{loss(sure, target):.3f} {loss(wrong, target):.3f}"
        '0.000 1.300'
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
        easy = 2.0  # beyond any probability: marks a pixel that is not of the class
        hard_foreground = probability.masked_fill(~foreground, easy).topk(k, largest=False).values
        hard_background = probability.masked_fill(foreground, -easy).topk(k).values
        excess = hard_background[:, :, None] - hard_foreground[:, None, :] + self.margin
        real = (hard_background > -easy)[:, :, None] & (hard_foreground < easy)[:, None, :]
        pairs = real.sum(dim=(1, 2)).clamp(min=1)
        return ((excess.clamp(min=0) * real).sum(dim=(1, 2)) / pairs).mean()


class HybridLoss(nn.Module):
    """Dice loss plus weighted rank loss (MT-Net, eqs. 1-3): ``L = Dice + 0.02 * Rank``.

    The Dice term is MONAI's, per image, with a smoothing term in the denominator alone as in eq. 2. The paper calls
    the weight lambda in section 3.2.5 and gamma elsewhere.

    Args:
        gamma: weight of the rank loss; with 0 it is not computed (the first point of Fig. 8).
        k: number of hard pixels per class and image.
        margin: margin of the rank loss, in probability.

    Example:
        >>> import torch
        >>> from lung_nodule.losses import HybridLoss
        >>> target = torch.zeros(1, 1, 4, 4)
        >>> target[..., 1:3, 1:3] = 1
        >>> f"{HybridLoss()(20 * target - 10, target):.3f}"
        '0.000'
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
