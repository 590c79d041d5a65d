"""Blocks that networks share, on top of MONAI's ``Convolution``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lung_nodule.errors import NetworkOptionError
from monai.networks.blocks import Convolution
from torch import nn


def scaled(channels: int, width: float) -> int:
    """A published channel count times ``width``, a multiple of 8 and at least 8.

    Raises:
        NetworkOptionError: the width is not a number above 0.
    """
    if not isinstance(width, int | float) or not width > 0:
        raise NetworkOptionError(f"the width must be a number above 0 (1 as published), got {width!r}")
    return max(8, 8 * round(channels * width / 8))


def conv_bn(
    in_channels: int,
    out_channels: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    dilation: int = 1,
    relu: bool = True,
    groups: int = 1,
    padding: int | None = None,
) -> Convolution:
    """2-D convolution without bias, batch norm and, with ``relu``, ReLU; "same" padding unless given."""
    return Convolution(
        2, in_channels, out_channels, kernel_size=kernel_size, strides=stride, dilation=dilation, groups=groups,
        padding=padding, bias=False, norm="batch", act="relu" if relu else None, adn_ordering="NA",
    )  # fmt: skip


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 then pointwise 1x1 convolution, batch norm after both (aligned Xception).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the depthwise convolution.
        dilation: dilation of the depthwise convolution.
        relu: whether ReLU follows both batch norms (the last three convolutions of the exit flow).
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1, relu: bool = False
    ) -> None:
        super().__init__(
            conv_bn(in_channels, in_channels, stride=stride, dilation=dilation, groups=in_channels, relu=relu),
            conv_bn(in_channels, out_channels, kernel_size=1, relu=relu),
        )


class XceptionBlock(nn.Module):
    """Three pre-activated separable convolutions with a residual path (aligned Xception).

    It starts as its residual path alone: the last batch norm's weight is zero (Goyal et al. 2017, section 5.1). MT-Net
    describes only pretrained weights. From random ones, deep networks amplify rounding from block to block: trained for
    the quickstart, Coarse Seg-net's probabilities in float32 were up to 5e-4 off those in float64, and with this start
    4e-5.

    Args:
        channels: input channels and those of the three convolutions.
        stride: stride of the third convolution and of the residual path.
        first_relu: whether the first convolution is pre-activated too.
    """

    def __init__(self, channels: Sequence[int], *, stride: int = 1, first_relu: bool = True) -> None:
        super().__init__()
        first, second, third, last = channels
        self.first_relu = nn.ReLU() if first_relu else nn.Identity()
        self.conv1 = SeparableConv(first, second)
        self.conv2 = SeparableConv(second, third)
        self.conv3 = SeparableConv(third, last, stride=stride)
        same = first == last and stride == 1
        self.residual = nn.Identity() if same else conv_bn(first, last, kernel_size=1, stride=stride, relu=False)
        nn.init.zeros_(self.conv3.get_parameter("1.adn.N.weight"))

    def before_stride(self, x: torch.Tensor) -> torch.Tensor:
        """The features after the second convolution, at the input's resolution."""
        return self.conv2(torch.relu(self.conv1(self.first_relu(x))))

    def after_stride(self, x: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        """The block's output from its input and :meth:`before_stride`'s features."""
        return self.conv3(torch.relu(inner)) + self.residual(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, channels[0], H, W]`` -> ``[N, channels[3], H/stride, W/stride]``."""
        return self.after_stride(x, self.before_stride(x))


def initialise(network: nn.Module) -> None:
    """Kaiming normal (fan out) for every convolution, as the networks start without pretrained weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def as_rgb(image: torch.Tensor) -> torch.Tensor:
    """One grey channel ``[N, 1, H, W]`` to three identical ones, as MT-Net's inputs are."""
    return image.expand(-1, 3, -1, -1)
