"""MT-Net's segmentation networks: Coarse Seg-net and Fine Seg-net."""

from __future__ import annotations

import torch
from lung_nodule.networks.blocks import as_rgb, conv_bn, initialise
from lung_nodule.networks.deeplab import ASPP, Decoder
from lung_nodule.networks.xception65 import AlignedXception65
from torch import nn
from torch.nn import functional


class CoarseSegNet(nn.Module):
    """DeepLabv3+ on the aligned Xception-65 (MT-Net, section 3.2.2; 54.71 M parameters at width 1).

    Args:
        width: factor on the published channel counts.
        middle_blocks: number of blocks of the encoder's middle flow (16 published).
    """

    def __init__(self, *, width: float = 1.0, middle_blocks: int = 16) -> None:
        super().__init__()
        self.encoder = AlignedXception65(width=width, middle_blocks=middle_blocks)
        self.aspp = ASPP(self.encoder.out_channels, width=width)
        self.decoder = Decoder(self.encoder.low_channels, self.aspp.out_channels, width=width)
        initialise(self)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Slices ``[N, 1, H, W]`` in 0..1 (H and W multiples of 16) -> mask logits ``[N, 1, H, W]``."""
        low, deep = self.encoder(as_rgb(image))
        return self.decoder(low, self.aspp(deep), image)


class FineSegNet(CoarseSegNet):
    """Coarse Seg-net with a fine layer that takes the coarse mask in (MT-Net, section 3.2.3; 54.77 M parameters).

    The fine layer comes after the pyramid: the mask, averaged down to stride 16, is concatenated and fused by a 1x1
    convolution, batch norm and ReLU.

    Args:
        width: factor on the published channel counts.
        middle_blocks: number of blocks of the encoder's middle flow (16 published).
        coarse_mask: whether there is a fine layer that the coarse mask guides (False: the ablation of Table 5).
    """

    def __init__(self, *, width: float = 1.0, middle_blocks: int = 16, coarse_mask: bool = True) -> None:
        super().__init__(width=width, middle_blocks=middle_blocks)
        self.coarse_mask = coarse_mask
        self.fine_layer = None
        if coarse_mask:
            self.fine_layer = conv_bn(self.aspp.out_channels + 1, self.aspp.out_channels, kernel_size=1)
            initialise(self.fine_layer)

    def forward(self, image: torch.Tensor, coarse: torch.Tensor | None = None) -> torch.Tensor:
        """Slices and coarse probability, both ``[N, 1, H, W]`` -> mask logits ``[N, 1, H, W]``.

        Without the coarse mask as an input the second argument is ignored.
        """
        low, deep = self.encoder(as_rgb(image))
        features = self.aspp(deep)
        if self.fine_layer is not None:
            assert coarse is not None, "a guided network needs the coarse mask"
            mask = functional.avg_pool2d(coarse, kernel_size=16)
            features = self.fine_layer(torch.cat([features, mask], dim=1))
        return self.decoder(low, features, image)
