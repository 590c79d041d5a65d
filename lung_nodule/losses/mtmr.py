"""The loss of MTMR-Net: cross-entropy, attribute regression and margin ranking in a form that has a gradient."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lung_nodule.errors import LossOptionError
from torch import nn
from torch.nn import functional


class MarginRankingLoss(nn.Module):
    """Order the predicted malignancies as the readers' scores are ordered (MTMR-Net, eqs. 3-4).

    ``1/(2N) * sum over pairs of max(0, margin - sign(t_i - t_j) * (p_i - p_j))``: the sign comes from the readers'
    scores ``t``, the difference from the predictions ``p``, as in Kong et al. 2016, which the paper follows. In print
    the two are swapped: an indicator on the predictions times a difference of the scores, which is constant almost
    everywhere in ``p`` and has no gradient. Pairs with equal scores have no order: they add nothing to the sum but
    count in ``N``.

    Args:
        margin: difference in probability by which the more malignant of two should exceed the other (0.1 published).
        pairs: ``"halves"`` pairs the i-th of a shuffled batch's first half with the i-th of its second (one network,
            run once, is both arms of the siamese pair; the last of an odd batch has no partner); ``"all"`` takes
            every pair of the batch.

    Raises:
        LossOptionError: ``pairs`` is neither.

    Example:
        >>> import torch
        >>> from lung_nodule.losses import MarginRankingLoss
        >>> loss = MarginRankingLoss(margin=0.1)
        >>> readers = torch.tensor([1.0, 0.0])
        >>> f"{loss(torch.tensor([0.9, 0.2]), readers):.2f} {loss(torch.tensor([0.2, 0.9]), readers):.2f}"
        '0.00 0.40'
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


class MTMRLoss(nn.Module):
    """Cross-entropy + lambda * attribute regression + beta * margin ranking (MTMR-Net, eqs. 1, 2, 5).

    The regression is the squared distance of the eight attributes on 0..1: summed over the attributes, averaged over
    the batch. The L2 term of eq. 5 is the optimizer's weight decay. A weight of 0 leaves a term out, which is the
    paper's ablation (its Table 1).

    Args:
        regression_weight: lambda (1 published).
        rank_weight: beta (0.5 published).
        margin: margin of the ranking.
        pairs: pairs of the ranking, see :class:`~lung_nodule.losses.MarginRankingLoss`.
        soft_target: whether the cross-entropy is with the readers' score as the probability of malignancy, not with the
            class, so that a nodule of the score 0.5, which has no class, counts too.

    Example:
        >>> import torch
        >>> from lung_nodule.losses import MTMRLoss
        >>> logits = torch.tensor([[2.0, -2.0], [-2.0, 2.0]])
        >>> attributes = torch.full((2, 8), 0.5)
        >>> prediction = {"logits": logits, "malignancy": logits.softmax(dim=1)[:, 1], "attributes": attributes}
        >>> readers = {"score": torch.tensor([0.1, 0.9]), "attributes": attributes}
        >>> target = {"malignancy": torch.tensor([0.0, 1.0]), **readers}
        >>> {name: f"{term:.3f}" for name, term in MTMRLoss().terms(prediction, target).items()}
        {'class': '0.018', 'rank': '0.000', 'regression': '0.000'}
    """

    def __init__(
        self,
        *,
        regression_weight: float = 1.0,
        rank_weight: float = 0.5,
        margin: float = 0.1,
        pairs: str = "halves",
        soft_target: bool = False,
    ) -> None:
        super().__init__()
        self.soft_target = soft_target
        self.regression_weight = regression_weight
        self.rank_weight = rank_weight
        self.rank = MarginRankingLoss(margin=margin, pairs=pairs)

    def terms(
        self, prediction: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The terms without their weights: ``class``, ``rank`` and, where attributes are predicted, ``regression``.

        Args:
            prediction: ``logits`` ``[N, 2]``, ``malignancy`` ``[N]`` and perhaps ``attributes`` ``[N, 8]``.
            target: ``malignancy`` ``[N]`` (1.0 or 0.0; not read with ``soft_target``), ``score`` ``[N]`` and
                ``attributes`` ``[N, 8]`` in 0..1.

        Raises:
            ValueError: shapes that would broadcast.
        """
        score = target["score"]
        classes = torch.stack([1 - score, score], dim=1) if self.soft_target else target["malignancy"].long()
        terms = {
            "class": functional.cross_entropy(prediction["logits"].float(), classes),
            "rank": self.rank(prediction["malignancy"], score),
        }
        if "attributes" in prediction:
            terms["regression"] = _squared_distance(prediction["attributes"].float(), target["attributes"])
        return terms

    def forward(self, prediction: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """See :meth:`terms`; the weighted sum, a scalar."""
        terms = self.terms(prediction, target)
        weights = {"class": 1.0, "rank": self.rank_weight, "regression": self.regression_weight}
        return sum((weights[name] * term for name, term in terms.items()), torch.tensor(0.0))


def _squared_distance(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if prediction.shape != target.shape:
        raise ValueError(f"attributes {list(prediction.shape)} and their targets {list(target.shape)} differ in shape")
    return (prediction - target).square().sum(dim=1).mean()
