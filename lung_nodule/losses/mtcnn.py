"""The loss of MT-CNN."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lung_nodule.errors import LossOptionError
from torch import nn
from torch.nn import functional


class ViewLoss(nn.Module):
    """Cross-entropy of the class plus alpha times the pixels' mean cross-entropy, per view (MT-CNN, eqs. 1-3).

    The views' losses are added up: their networks share no weight, so each gets the gradient of its own loss. The
    paper's eq. 2 lacks its minus sign and eq. 3 counts one pixel too many. Pixels lie anywhere in 0..1, so the second
    term does not fall below their entropy.

    Args:
        alpha: weight of the reconstruction (0.3 published); 0 is the single-task network.

    Raises:
        LossOptionError: ``alpha`` is negative.

    Example:
        >>> import torch
        >>> from lung_nodule.losses import ViewLoss
        >>> views = torch.zeros(1, 9, 8, 8)
        >>> prediction = {"logits": torch.zeros(1, 9, 2), "reconstruction": views - 20, "image": views}
        >>> loss = ViewLoss()(prediction, torch.tensor([[1.0]]))
        >>> f"{loss:.3f}"  # nine times ln 2: the class is open, the reconstruction exact
        '6.238'
    """

    def __init__(self, *, alpha: float = 0.3) -> None:
        super().__init__()
        if alpha < 0:
            raise LossOptionError(f"alpha must be 0 or more, got {alpha}")
        self.alpha = alpha

    def forward(self, prediction: Mapping[str, torch.Tensor], malignant: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar.

        Args:
            prediction: ``logits`` ``[N, V, 2]`` and, unless alpha is 0, ``reconstruction`` (logits) and ``image``
                (0..1), both ``[N, V, H, W]``.
            malignant: ``[N, 1]``, 1 or 0.
        """
        logits = prediction["logits"].float()
        views = logits.shape[1]
        classes = malignant.long().expand(-1, views)
        loss = functional.cross_entropy(logits.flatten(0, 1), classes.flatten())
        if self.alpha:
            pixels = prediction["reconstruction"].float()
            loss = loss + self.alpha * functional.binary_cross_entropy_with_logits(pixels, prediction["image"])
        return views * loss
