"""MT-Net as one module, its predictor, and the guided network of its second training stage."""

from __future__ import annotations

import torch
from lung_nodule.networks.classnet import ClassNet
from lung_nodule.networks.segnet import CoarseSegNet, FineSegNet
from torch import nn


class MTNet(nn.Module):
    """Coarse segmentation that guides fine segmentation and classification (MT-Net 2024, Fig. 1).

    Args:
        width: factor on the published channel counts.
        middle_blocks: middle-flow blocks of the segmentation encoders (16 published); Class-net takes half (8).
        coarse_mask: whether the coarse mask guides Fine Seg-net and Class-net; without it they see the image alone
            (the ablations of Tables 4 and 5).

    Example:
        >>> import torch
        >>> from lung_nodule.networks import MTNet
        >>> network = MTNet(width=0.125, middle_blocks=1).eval()
        >>> logits = network(torch.rand(2, 1, 64, 64))
        >>> {name: tuple(value.shape) for name, value in logits.items()}
        {'coarse': (2, 1, 64, 64), 'fine': (2, 1, 64, 64), 'malignancy': (2, 1)}
    """

    def __init__(self, *, width: float = 1.0, middle_blocks: int = 16, coarse_mask: bool = True) -> None:
        super().__init__()
        self.coarse = CoarseSegNet(width=width, middle_blocks=middle_blocks)
        self.fine = FineSegNet(width=width, middle_blocks=middle_blocks, coarse_mask=coarse_mask)
        self.classifier = ClassNet(width=width, middle_blocks=(middle_blocks + 1) // 2, coarse_mask=coarse_mask)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """As :meth:`outputs`."""
        return self.outputs(image)

    def outputs(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Slices ``[N, 1, H, W]`` in 0..1 -> logits ``coarse``, ``fine`` (as the slices), ``malignancy`` ``[N, 1]``."""
        coarse = self.coarse(image)
        mask = torch.sigmoid(coarse)
        return {"coarse": coarse, "fine": self.fine(image, mask), "malignancy": self.classifier(image, mask)}

    def predict(self, image: torch.Tensor, channels: list[str] | None = None) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` in 0..1 -> probabilities ``[N, C, H, W]``, float32.

        Args:
            image: slices ``[N, 1, H, W]`` in 0..1.
            channels: names of the wanted maps, of ``coarse``, ``fine`` and ``malignancy`` (constant over a slice); all
                three in this order when not given.
        """
        wanted = ["coarse", "fine", "malignancy"] if channels is None else channels
        coarse = torch.sigmoid(self.coarse(image))
        maps = {"coarse": coarse.float()}
        if "fine" in wanted:
            maps["fine"] = torch.sigmoid(self.fine(image, coarse)).float()
        if "malignancy" in wanted:
            score = torch.sigmoid(self.classifier(image, coarse))
            maps["malignancy"] = score[:, :, None, None].expand_as(coarse).float()
        return torch.cat([maps[name] for name in wanted], dim=1)


class MTNetPredictor(MTNet):
    """:class:`MTNet` with one output tensor and the same weight names, for evaluation and inference."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` in 0..1 -> probabilities ``[N, 3, H, W]``: coarse, fine, malignancy."""
        return self.predict(image)


class GuidedByCoarse(nn.Module):
    """A network downstream of a frozen Coarse Seg-net, for the second stage of MT-Net's training.

    The coarse mask is computed on every (augmented) image, without gradient; Coarse Seg-net stays in evaluation mode,
    so its batch-norm statistics stay fixed.

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
