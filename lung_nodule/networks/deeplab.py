"""DeepLabv3+'s atrous pyramid and decoder."""

from __future__ import annotations

import torch
from lung_nodule.networks.blocks import conv_bn, scaled
from torch import nn
from torch.nn import functional


def upsample(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Bilinear, corners aligned, to the height and width of another tensor."""
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, 3x3 at rates 6, 12 and 18, and image pooling.

    Args:
        in_channels: channels of the encoder's deep features.
        width: factor on the 256 published channels.
    """

    def __init__(self, in_channels: int, *, width: float = 1.0) -> None:
        super().__init__()
        channels = scaled(256, width)
        self.branches = nn.ModuleList(
            [conv_bn(in_channels, channels, kernel_size=1)]
            + [conv_bn(in_channels, channels, dilation=rate) for rate in (6, 12, 18)]
        )
        self.pooled = conv_bn(in_channels, channels, kernel_size=1)
        self.project = nn.Sequential(conv_bn(5 * channels, channels, kernel_size=1), nn.Dropout(0.5))
        self.out_channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, in_channels, h, w]`` -> ``[N, 256w, h, w]``."""
        features = []
        for branch in self.branches:
            features.append(branch(x))
        features.append(self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, x.shape[2], x.shape[3]))
        return self.project(torch.cat(features, dim=1))


class Decoder(nn.Module):
    """DeepLabv3+'s decoder with one output channel; the final 1x1 convolution is MT-Net's.

    Args:
        low_channels: channels of the low-level features at stride 4.
        deep_channels: channels of the pyramid's features.
        width: factor on the published channel counts.
    """

    def __init__(self, low_channels: int, deep_channels: int, *, width: float = 1.0) -> None:
        super().__init__()
        c48, c256 = scaled(48, width), scaled(256, width)
        self.low = conv_bn(low_channels, c48, kernel_size=1)
        self.fuse = nn.Sequential(
            conv_bn(deep_channels + c48, c256), nn.Dropout(0.5), conv_bn(c256, c256), nn.Dropout(0.1)
        )
        self.head = nn.Conv2d(c256, 1, kernel_size=1)

    def forward(self, low: torch.Tensor, deep: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Features at strides 4 and 16 -> logits ``[N, 1, H, W]`` at the image's size."""
        fused = self.fuse(torch.cat([upsample(deep, low), self.low(low)], dim=1))
        return upsample(self.head(fused), image)
