"""MT-Net as one module, and the views of it that training and inference need."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .classnet import ClassNet
from .segnet import CoarseSegNet, FineSegNet


class MTNet(nn.Module):
    """Coarse segmentation that guides fine segmentation and classification (MT-Net 2024, Fig. 1).

    Args:
        width: factor on the published channel counts.
        middle_blocks: middle-flow blocks of the segmentation encoders (16 published); Class-net takes half (8).
        coarse_mask: whether the coarse mask guides Fine Seg-net and Class-net; without it they see the image alone
            (the ablations of Tables 4 and 5).
    """

    def __init__(self, *, width: float = 1.0, middle_blocks: int = 16, coarse_mask: bool = True) -> None:
        super().__init__()
        self.coarse = CoarseSegNet(width=width, middle_blocks=middle_blocks)
        self.fine = FineSegNet(width=width, middle_blocks=middle_blocks, coarse_mask=coarse_mask)
        self.classifier = ClassNet(width=width, middle_blocks=(middle_blocks + 1) // 2, coarse_mask=coarse_mask)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Slices ``[N, 1, H, W]`` in 0..1 -> logits ``coarse``, ``fine`` (as the slices), ``malignancy`` ``[N, 1]``."""
        coarse = self.coarse(image)
        mask = torch.sigmoid(coarse)
        return {"coarse": coarse, "fine": self.fine(image, mask), "malignancy": self.classifier(image, mask)}


class GuidedByCoarse(nn.Module):
    """A network behind a frozen Coarse Seg-net: what the second stage of MT-Net's training trains.

    The coarse mask is computed anew on every (augmented) image, without gradient; Coarse Seg-net stays in evaluation
    mode, so its batch-norm statistics stand still.

    Args:
        coarse: the frozen Coarse Seg-net.
        network: Fine Seg-net or Class-net; where it does without the coarse mask, none is computed.
    """

    def __init__(self, coarse: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.coarse = coarse
        self.network = network

    def train(self, mode: bool = True) -> GuidedByCoarse:
        """Training mode for the guided network alone."""
        super().train(mode)
        self.coarse.eval()
        return self

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` -> the guided network's logits."""
        if not self.network.coarse_mask:
            return self.network(image)
        with torch.no_grad():
            mask = torch.sigmoid(self.coarse(image))
        return self.network(image, mask)


class AsMaps(nn.Module):
    """MT-Net with one output tensor: what validation, evaluation and inference run slice by slice.

    Args:
        network: an :class:`MTNet`.
        channels: the maps wanted, of ``coarse``, ``fine`` and ``malignancy`` (the same value all over a slice).
    """

    def __init__(self, network: MTNet, channels: Sequence[str] = ("coarse", "fine", "malignancy")) -> None:
        super().__init__()
        self.network = network
        self.channels = tuple(channels)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` in 0..1 -> probabilities ``[N, len(channels), H, W]``."""
        maps = {"coarse": torch.sigmoid(self.network.coarse(image))}
        if "fine" in self.channels:
            maps["fine"] = torch.sigmoid(self.network.fine(image, maps["coarse"]))
        if "malignancy" in self.channels:
            score = torch.sigmoid(self.network.classifier(image, maps["coarse"]))
            maps["malignancy"] = score[:, :, None, None].expand_as(maps["coarse"])
        return torch.cat([maps[name].float() for name in self.channels], dim=1)
