"""The loss of MTMR-Net."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lung_nodule.losses.margin_ranking import MarginRankingLoss
from torch import nn
from torch.nn import functional


class MTMRLoss(nn.Module):
    """Cross-entropy + lambda * attribute regression + beta * margin ranking (MTMR-Net, eqs. 1, 2, 5).

    The regression is the squared distance of the eight attributes on 0..1: summed over the attributes, averaged over
    the batch. The L2 term of eq. 5 is the optimizer's weight decay. A weight of 0 leaves a term out, which is the
    paper's ablation (its Table 1).

    Args:
        regression_weight: lambda (1 published).
        rank_weight: beta (0.5 published).
        margin: of the ranking.
        pairs: of the ranking, see :class:`~lung_nodule.losses.MarginRankingLoss`.
    """

    def __init__(
        self, *, regression_weight: float = 1.0, rank_weight: float = 0.5, margin: float = 0.1, pairs: str = "halves"
    ) -> None:
        super().__init__()
        self.regression_weight = regression_weight
        self.rank_weight = rank_weight
        self.rank = MarginRankingLoss(margin=margin, pairs=pairs)

    def terms(
        self, prediction: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The terms without their weights: ``class``, ``rank`` and, where attributes are predicted, ``regression``.

        Args:
            prediction: ``logits`` ``[N, 2]``, ``malignancy`` ``[N]`` and perhaps ``attributes`` ``[N, 8]``.
            target: ``malignancy`` ``[N]`` (1.0 or 0.0), ``score`` ``[N]`` and ``attributes`` ``[N, 8]`` in 0..1.

        Raises:
            ValueError: shapes that would broadcast.
        """
        malignancy = target["malignancy"]
        terms = {
            "class": functional.cross_entropy(prediction["logits"].float(), malignancy.long()),
            "rank": self.rank(prediction["malignancy"], target["score"]),
        }
        if "attributes" in prediction:
            terms["regression"] = _squared_distance(prediction["attributes"].float(), target["attributes"])
        return terms

    def forward(self, prediction: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """See :meth:`terms`; the weighted sum, a scalar."""
        terms = self.terms(prediction, target)
        weights = {"class": 1.0, "rank": self.rank_weight, "regression": self.regression_weight}
        return sum(weights[name] * term for name, term in terms.items())


def _squared_distance(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if prediction.shape != target.shape:
        raise ValueError(f"attributes {list(prediction.shape)} and their targets {list(target.shape)} differ in shape")
    return (prediction - target).square().sum(dim=1).mean()
