"""The loss of the end-to-end multi-task network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ignite.distributed as idist
import torch
from lung_nodule.errors import LossOptionError
from monai.losses import DiceLoss
from torch import nn
from torch.nn import functional

MALIGNANCY_LOSSES = ("l1", "bce")
MASK_LOSSES = ("dice", "dice_bce")
NEVER = -1e4  # a logit whose probability is 0


class EndToEndLoss(nn.Module):
    """``L = Dice + sum over attributes of BCE + |y - sigmoid(z)|`` with unit weights (Chen et al. 2020, slides).

    What is not known is left out: voxels beyond the scan (``inside`` is 0), an attribute or a malignancy that is NaN
    (a nodule rated 3 has no class). Each term is the mean over the cubes that have it, 0 where none has.

    The gradient of the printed malignancy term, ``sigmoid' = p (1 - p)``, vanishes where the network is confidently
    wrong; ``"bce"`` is the usual alternative. At the start the seven attribute terms weigh about 7 ln 2 = 4.9 against
    at most 1 for Dice.

    Args:
        malignancy_loss: ``"l1"`` as printed, or ``"bce"``.
        mask_loss: ``"dice"`` as printed, or ``"dice_bce"``, Dice plus the binary cross-entropy, a mean over all
            voxels of the cubes: those beyond the scan count as 0, so the tighter a crop, the less it weighs.
        mask_weight: weight of the mask's term, 1 as printed.

    Raises:
        LossOptionError: ``malignancy_loss`` or ``mask_loss`` is neither, or the weight is not above 0.

    Example:
        >>> import torch
        >>> from lung_nodule.losses import EndToEndLoss
        >>> label = torch.zeros(1, 1, 32, 32, 32)
        >>> label[..., 12:20, 12:20, 12:20] = 1
        >>> logits = {"segmentation": 20 * label - 10, "attributes": torch.zeros(1, 7), "malignancy": torch.zeros(1, 1)}
        >>> target = {"label": label, "highs": torch.ones(1, 7), "malignancy": torch.tensor([[float("nan")]])}
        >>> {name: f"{term:.2f}" for name, term in EndToEndLoss().terms(logits, target).items()}
        {'segmentation': '0.00', 'attributes': '4.85', 'malignancy': '0.00'}
    """

    def __init__(self, *, malignancy_loss: str = "l1", mask_loss: str = "dice", mask_weight: float = 1.0) -> None:
        super().__init__()
        _require_one_of(MALIGNANCY_LOSSES, malignancy_loss=malignancy_loss)
        _require_one_of(MASK_LOSSES, mask_loss=mask_loss)
        if not mask_weight > 0:
            raise LossOptionError(f"mask_weight must be above 0, got {mask_weight!r}")
        self.malignancy_loss = malignancy_loss
        self.mask_loss = mask_loss
        self.mask_weight = float(mask_weight)
        self.dice = DiceLoss(sigmoid=True, smooth_nr=1e-5, smooth_dr=1e-5)

    def forward(self, logits: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss of a batch, a scalar.

        Args:
            logits: ``segmentation`` ``[N, 1, D, D, D]``; where the network classifies also ``attributes`` ``[N, A]``
                and ``malignancy`` ``[N, 1]``.
            target: ``label`` in 0..1 and, if there is one, ``inside`` 0/1 like ``segmentation``; ``highs`` 0/1/NaN
                ``[N, A]``; ``malignancy`` 0/1/NaN ``[N, 1]``.
        """
        terms = self.terms(logits, target)
        terms["segmentation"] = self.mask_weight * terms["segmentation"]
        return sum(terms.values(), torch.tensor(0.0))

    def terms(self, logits: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The terms without their weights: ``segmentation``, and of a classifier ``attributes`` and ``malignancy``."""
        terms = {"segmentation": self._mask(*_inside(logits["segmentation"].float(), target))}
        if "malignancy" in logits:
            cross_entropy = functional.binary_cross_entropy_with_logits
            pairs = zip(logits["attributes"].unbind(1), target["highs"].unbind(1), strict=True)
            terms["attributes"] = torch.stack([_mean_of_known(cross_entropy, z, y) for z, y in pairs]).sum()
            loss = _absolute_error if self.malignancy_loss == "l1" else cross_entropy
            terms["malignancy"] = _mean_of_known(loss, logits["malignancy"], target["malignancy"])
        return terms

    def _mask(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        dice = self.dice(logits, label)
        if self.mask_loss == "dice":
            return dice
        return dice + functional.binary_cross_entropy_with_logits(logits, label)


def _require_one_of(known: tuple[str, ...], **option: str) -> None:
    for name, value in option.items():
        if value not in known:
            raise LossOptionError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def _inside(logits: torch.Tensor, target: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and label, both background beyond the scan."""
    label = target["label"]
    if "inside" not in target:
        return logits, label
    outside = target["inside"] < 0.5
    return logits.masked_fill(outside, NEVER), label.masked_fill(outside, 0)


def _mean_of_known(loss: Callable[..., torch.Tensor], logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mean loss of the entries whose target is not NaN; 0, still with a gradient graph, without such entries.

    On several ranks, whose gradients are averaged, each mean is weighted by the rank's share of the known entries, so
    that the average is the mean over the entries of all ranks.
    """
    if logits.shape != target.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)} differ in shape")
    known = ~torch.isnan(target)
    weight = _share_of_ranks(known.sum())
    if not known.any():
        return logits.float().sum() * 0
    return loss(logits.float()[known], target[known]) * weight


def _share_of_ranks(count: torch.Tensor) -> float | torch.Tensor:
    """A count, divided by its mean over the ranks; every rank must ask."""
    ranks = idist.get_world_size()
    if ranks == 1:
        return 1.0
    everywhere = idist.all_reduce(count.float())
    return count * ranks / torch.as_tensor(everywhere).clamp(min=1)


def _absolute_error(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.l1_loss(torch.sigmoid(logits), target)
