"""The margin ranking loss of MTMR-Net, in the form that trains."""

from __future__ import annotations

import torch
from lung_nodule.errors import LossOptionError
from torch import nn


class MarginRankingLoss(nn.Module):
    """Order the predicted malignancies as the readers' scores are ordered (MTMR-Net, eqs. 3-4).

    ``1/(2N) * sum over pairs of max(0, margin - sign(t_i - t_j) * (p_i - p_j))``: the sign comes from the readers'
    scores ``t``, the difference from the predictions ``p``, as in Kong et al. 2016, which the paper follows. Printed,
    the two have changed places: an indicator on the predictions times a difference of the scores, which is constant
    almost everywhere in ``p`` and has no gradient. Pairs with equal scores have no order: they add nothing to the sum
    but count in ``N``.

    Args:
        margin: by how much the more malignant of two should exceed the other, in probability (0.1 published).
        pairs: ``"halves"`` pairs the i-th of a shuffled batch's first half with the i-th of its second (one network,
            run once, is both arms of the siamese pair; the last of an odd batch has no partner); ``"all"`` takes
            every pair of the batch.

    Raises:
        LossOptionError: ``pairs`` is neither.
    """

    def __init__(self, *, margin: float = 0.1, pairs: str = "halves") -> None:
        super().__init__()
        if pairs not in ("halves", "all"):
            raise LossOptionError(f"pairs must be 'halves' or 'all', got {pairs!r}")
        self.margin = margin
        self.pairs = pairs

    def forward(self, prediction: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
        """Predicted malignancy and the readers' score, both ``[N]`` in 0..1 -> the loss, a scalar.

        Raises:
            ValueError: either is not ``[N]``; ``[N, 1]`` against ``[N]`` would broadcast to ``[N, N]``.
        """
        if prediction.ndim != 1 or prediction.shape != score.shape:
            raise ValueError(
                f"prediction {list(prediction.shape)} and score {list(score.shape)} must be two vectors of one length"
            )
        first, second = pair_indices(len(prediction), self.pairs, device=prediction.device)
        sign = torch.sign(score[first] - score[second])
        difference = prediction.float()[first] - prediction.float()[second]
        excess = (self.margin - sign * difference).clamp(min=0) * (sign != 0)
        return excess.sum() / (2 * max(len(first), 1))


def pair_indices(count: int, pairs: str, *, device: torch.device | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The two members of every pair of a batch of ``count``, as indices ``[M]``."""
    if pairs == "all":
        first, second = torch.triu_indices(count, count, offset=1, device=device)
        return first, second
    index = torch.arange(2 * (count // 2), device=device)
    first, second = index.chunk(2) if count > 1 else (index, index)
    return first, second
