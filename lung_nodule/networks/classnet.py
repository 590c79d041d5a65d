"""MT-Net's Class-net: Xception with the coarse mask as fourth channel and a dilated exit."""

from __future__ import annotations

import itertools

import torch
from lung_nodule.networks.blocks import as_rgb, conv_bn, initialise, scaled
from torch import nn


class PlainSeparableConv(nn.Sequential):
    """Depthwise 3x3, pointwise 1x1, one batch norm (Xception)."""

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, padding=dilation, dilation=dilation, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class PlainBlock(nn.Module):
    """Pre-activated separable convolutions with a residual path (Xception); it starts as that path alone.

    Args:
        channels: input channels and those of each convolution.
        pool: whether to end in a 3x3 max pooling with stride 2 (entry flow).
        first_relu: whether the first convolution is pre-activated too.
    """

    def __init__(self, channels: tuple[int, ...], *, pool: bool = False, first_relu: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(itertools.pairwise(channels)):
            layers += [nn.ReLU()] if index or first_relu else []
            layers += [PlainSeparableConv(before, after)]
        nn.init.zeros_(layers[-1].get_parameter("2.weight"))
        self.convs = nn.Sequential(*layers, *([nn.MaxPool2d(3, stride=2, padding=1)] if pool else []))
        same = channels[0] == channels[-1] and not pool
        self.residual = (
            nn.Identity()
            if same
            else conv_bn(channels[0], channels[-1], kernel_size=1, stride=2 if pool else 1, relu=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, channels[0], H, W]`` -> ``[N, channels[-1], H', W']``, H' = H or, pooled, H/2 rounded up."""
        return self.convs(x) + self.residual(x)


class ClassNet(nn.Module):
    """Xception with four input channels (MT-Net, section 3.2.4 and Fig. 5; 20.81 M parameters at width 1).

    The last max pooling of the exit flow is removed and its last two separable convolutions are dilated by 2 with
    padding 2. The kernel of the fourth channel, the coarse mask's, starts as the mean of the other three.

    Args:
        width: factor on the published channel counts.
        middle_blocks: number of blocks of the middle flow (8 published).
        coarse_mask: whether the coarse mask is a fourth input channel (False: the ablation of Table 4).
    """

    def __init__(self, *, width: float = 1.0, middle_blocks: int = 8, coarse_mask: bool = True) -> None:
        super().__init__()
        self.coarse_mask = coarse_mask
        c32, c64, c128, c256, c728, c1024, c1536, c2048 = (
            scaled(c, width) for c in (32, 64, 128, 256, 728, 1024, 1536, 2048)
        )
        self.stem = nn.Sequential(
            conv_bn(4 if coarse_mask else 3, c32, stride=2, padding=0), conv_bn(c32, c64, padding=0)
        )
        self.entry = nn.Sequential(
            PlainBlock((c64, c128, c128), pool=True, first_relu=False),
            PlainBlock((c128, c256, c256), pool=True),
            PlainBlock((c256, c728, c728), pool=True),
        )
        self.middle = nn.Sequential(*(PlainBlock((c728,) * 4) for _ in range(middle_blocks)))
        self.exit = nn.Sequential(
            PlainBlock((c728, c728, c1024)),
            PlainSeparableConv(c1024, c1536, dilation=2),
            nn.ReLU(),
            PlainSeparableConv(c1536, c2048, dilation=2),
            nn.ReLU(),
        )
        self.head = nn.Linear(c2048, 1)
        initialise(self)
        if coarse_mask:
            self.average_fourth_channel()

    def average_fourth_channel(self) -> None:
        """Set the kernel of the coarse mask's channel to the mean of the three image channels' kernels."""
        with torch.no_grad():
            kernel = self.stem.get_parameter("0.conv.weight")
            kernel[:, 3] = kernel[:, :3].mean(dim=1)

    def forward(self, image: torch.Tensor, coarse: torch.Tensor | None = None) -> torch.Tensor:
        """Slices and coarse probability, both ``[N, 1, H, W]`` -> malignancy logits ``[N, 1]``.

        The logits are float32 under autocast too. Without the coarse mask as an input the second argument is ignored.
        """
        channels = as_rgb(image)
        if self.coarse_mask:
            assert coarse is not None, "a guided network needs the coarse mask"
            channels = torch.cat([channels, coarse], dim=1)
        x = self.stem(channels)
        return self.head(self.exit(self.middle(self.entry(x))).mean(dim=(2, 3))).float()
