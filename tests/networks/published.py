"""Networks that name and order their tensors as published ones do, narrow, to write files that a user might bring."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import torch
from torch import nn

WIDTHS = {32: 8, 64: 8, 128: 16, 256: 32, 728: 88, 1024: 128, 1536: 192, 2048: 256}  # an eighth, as ``width=0.125``


def conv(before: int, after: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, bias=False, **options)


def named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def spread(network: nn.Module) -> nn.Module:
    """Statistics and weights of batch norms away from 0 and 1, so that a swapped pair shows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)
    return network.eval()


def opened(network: nn.Module) -> nn.Module:
    """Residual blocks that compute something, as after training: none of their batch norms has a weight of zero."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.any():
            nn.init.ones_(module.weight)
    return network.eval()


class Residual(nn.Module):
    """``stack(x) + shortcut(x)``, the shortcut made of any named submodules."""

    def __init__(self, path: dict[str, nn.Module], shortcut: dict[str, nn.Module], stack: str | None = None) -> None:
        super().__init__()
        self.path = [stack] if stack else list(path)
        self.shortcut_names = list(shortcut)
        modules = {stack: nn.Sequential(OrderedDict(path))} if stack else path
        for name, module in {**modules, **shortcut}.items():
            self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep, short = x, x
        for name in self.path:
            deep = self.get_submodule(name)(deep)
        for name in self.shortcut_names:
            short = self.get_submodule(name)(short)
        return deep + short


def timm_conv(before: int, after: int, *, relu: bool, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    act = nn.ReLU if relu else nn.Identity
    return named(
        conv_dw=conv(before, before, stride=stride, dilation=dilation, padding=dilation, groups=before),
        bn_dw=nn.BatchNorm2d(before, eps=1e-3), act_dw=act(),
        conv_pw=conv(before, after, 1), bn_pw=nn.BatchNorm2d(after, eps=1e-3), act_pw=act(),
    )  # fmt: skip


def deeplab_conv(before: int, after: int, *, relu: bool, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    first = {} if relu else {"relu0": nn.ReLU()}
    second, third = ({"relu1": nn.ReLU()}, {"relu2": nn.ReLU()}) if relu else ({}, {})
    depthwise = conv(before, before, stride=stride, dilation=dilation, padding=dilation, groups=before)
    return named(
        **first, depthwise=depthwise, bn1=nn.BatchNorm2d(before), **second,
        pointwise=conv(before, after, 1), bn2=nn.BatchNorm2d(after), **third,
    )  # fmt: skip


BLOCKS = (
    [(64, 128, 128, 128, 2), (128, 256, 256, 256, 2), (256, 728, 728, 728, 2)]
    + 16 * [(728, 728, 728, 728, 1)]
    + [(728, 728, 1024, 1024, 1)]
)


def timm_xception65() -> nn.Module:
    """At output stride 16, with the ReLU of the networks here before the last three convolutions."""
    w = WIDTHS
    stem = nn.Sequential(
        named(conv=conv(3, w[32], stride=2, padding=1), bn=nn.BatchNorm2d(w[32], eps=1e-3), act=nn.ReLU()),
        named(conv=conv(w[32], w[64], padding=1), bn=nn.BatchNorm2d(w[64], eps=1e-3), act=nn.ReLU()),
    )
    blocks = []
    for a, b, c, d, stride in ((*(w[n] for n in block[:4]), block[4]) for block in BLOCKS):
        stack = {}
        for i, (x, y) in enumerate(((a, b), (b, c), (c, d)), start=1):
            stack[f"act{i}"] = nn.ReLU()
            stack[f"conv{i}"] = timm_conv(x, y, relu=False, stride=stride if i == 3 else 1)
        plain = a == d and stride == 1
        shortcut = named(conv=conv(a, d, 1, stride=stride), bn=nn.BatchNorm2d(d, eps=1e-3))
        blocks.append(Residual(stack, {} if plain else {"shortcut": shortcut}, stack="stack"))
    last = {"act0": nn.ReLU()}
    for i, (x, y) in enumerate(((1024, 1536), (1536, 1536), (1536, 2048)), start=1):
        last[f"conv{i}"] = timm_conv(w[x], w[y], relu=True, dilation=2)
    blocks.append(named(stack=nn.Sequential(OrderedDict(last))))
    return spread(named(stem=stem, blocks=nn.Sequential(*blocks)))


def deeplab_xception65() -> nn.Module:
    """The same by the names of DeepLabv3+ ports."""
    w = WIDTHS
    modules: dict[str, nn.Module] = {
        "conv1": conv(3, w[32], stride=2, padding=1), "bn1": nn.BatchNorm2d(w[32]), "relu1": nn.ReLU(),
        "conv2": conv(w[32], w[64], padding=1), "bn2": nn.BatchNorm2d(w[64]), "relu2": nn.ReLU(),
    }  # fmt: skip
    for number, block in enumerate(BLOCKS, start=1):
        (a, b, c, d), stride = (w[n] for n in block[:4]), block[4]
        path = {
            "sepconv1": deeplab_conv(a, b, relu=False),
            "sepconv2": deeplab_conv(b, c, relu=False),
            "sepconv3": deeplab_conv(c, d, relu=False, stride=stride),
        }
        plain = a == d and stride == 1
        shortcut = {} if plain else {"skip": conv(a, d, 1, stride=stride), "skipbn": nn.BatchNorm2d(d)}
        modules[f"block{number}"] = Residual(path, shortcut)
    modules["relu3"] = nn.ReLU()
    for number, (x, y) in enumerate(((1024, 1536), (1536, 1536), (1536, 2048)), start=3):
        modules[f"conv{number}"] = deeplab_conv(w[x], w[y], relu=True, dilation=2)
    return spread(named(**modules))


def xception(*, middle_blocks: int = 8) -> nn.Module:
    """Xception's features by Cadene's names, with Class-net's exit (no last pooling, dilated convolutions)."""
    w = WIDTHS

    def separable(before: int, after: int, dilation: int = 1) -> nn.Sequential:
        depthwise = conv(before, before, dilation=dilation, padding=dilation, groups=before)
        return named(conv1=depthwise, pointwise=conv(before, after, 1))

    def block(channels: tuple[int, ...], *, first_relu: bool = True, pool: bool = False) -> Residual:
        steps: list[nn.Module] = []
        sizes = [w[n] for n in channels]
        for before, after in itertools.pairwise(sizes):
            steps += [nn.ReLU(), separable(before, after), nn.BatchNorm2d(after)]
        steps = (steps if first_relu else steps[1:]) + ([nn.MaxPool2d(3, 2, 1)] if pool else [])
        skip = {"skip": conv(sizes[0], sizes[-1], 1, stride=1 + pool), "skipbn": nn.BatchNorm2d(sizes[-1])}
        return Residual({"rep": nn.Sequential(*steps)}, skip if channels[0] != channels[-1] else {})

    middle = {f"block{n}": block((728,) * 4) for n in range(4, 4 + middle_blocks)}
    return spread(
        named(
            conv1=conv(3, w[32], stride=2), bn1=nn.BatchNorm2d(w[32]), relu1=nn.ReLU(),
            conv2=conv(w[32], w[64]), bn2=nn.BatchNorm2d(w[64]), relu2=nn.ReLU(),
            block1=block((64, 128, 128), first_relu=False, pool=True),
            block2=block((128, 256, 256), pool=True), block3=block((256, 728, 728), pool=True),
            **middle, block12=block((728, 728, 1024)),
            conv3=separable(w[1024], w[1536], 2), bn3=nn.BatchNorm2d(w[1536]), relu3=nn.ReLU(),
            conv4=separable(w[1536], w[2048], 2), bn4=nn.BatchNorm2d(w[2048]), relu4=nn.ReLU(),
        )
    )  # fmt: skip
