"""Aligned Xception-65: the encoder of MT-Net's segmentation networks."""

from __future__ import annotations

import torch
from lung_nodule.networks.blocks import SeparableConv, XceptionBlock, conv_bn, scaled
from torch import nn


class AlignedXception65(nn.Module):
    """Modified aligned Xception at output stride 16 (MT-Net, section 3.2.2 and Fig. 3).

    Max pooling is replaced by strided depthwise separable convolutions; the exit flow's last three convolutions are
    dilated by 2 for the stride that output stride 16 takes away.

    Args:
        in_channels: channels of the image.
        width: factor on the published channel counts.
        middle_blocks: number of residual blocks of the middle flow (16 published).
    """

    def __init__(self, in_channels: int = 3, *, width: float = 1.0, middle_blocks: int = 16) -> None:
        super().__init__()
        c32, c64, c128, c256, c728, c1024, c1536, c2048 = (
            scaled(c, width) for c in (32, 64, 128, 256, 728, 1024, 1536, 2048)
        )
        self.stem = nn.Sequential(conv_bn(in_channels, c32, stride=2), conv_bn(c32, c64))
        self.entry1 = XceptionBlock((c64, c128, c128, c128), stride=2, first_relu=False)
        self.entry2 = XceptionBlock((c128, c256, c256, c256), stride=2)
        self.entry3 = XceptionBlock((c256, c728, c728, c728), stride=2)
        self.middle = nn.Sequential(*(XceptionBlock((c728,) * 4) for _ in range(middle_blocks)))
        self.exit = XceptionBlock((c728, c728, c1024, c1024))
        self.exit_convs = nn.Sequential(
            nn.ReLU(),
            SeparableConv(c1024, c1536, dilation=2, relu=True),
            SeparableConv(c1536, c1536, dilation=2, relu=True),
            SeparableConv(c1536, c2048, dilation=2, relu=True),
        )
        self.low_channels, self.out_channels = c256, c2048

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``[N, C, H, W]`` -> low-level features ``[N, 256w, H/4, W/4]`` and deep ones ``[N, 2048w, H/16, W/16]``."""
        x = self.entry1(self.stem(image))
        low = self.entry2.before_stride(x)
        x = self.entry3(self.entry2.after_stride(x, low))
        return torch.relu(low), self.exit_convs(self.exit(self.middle(x)))
