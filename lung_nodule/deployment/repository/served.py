"""Nets of a method's network that are served, with named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lung_nodule.errors import InputError
from lung_nodule.methods import Method, ServedPart
from lung_nodule.networks import AsPredictor
from torch import nn


class ServedNet(nn.Module):
    """A served net: named tensors, probabilities instead of logits.

    Args:
        part: module that maps images, and optionally their coarse probability, to one tensor.
        inputs: names of the input tensors, all of the image's shape.
        output: name of the output tensor.
        from_logits: whether the part returns logits, which are converted to probabilities.
    """

    def __init__(self, part: nn.Module, inputs: tuple[str, ...], output: str, *, from_logits: bool = False) -> None:
        super().__init__()
        self.part = part
        self.inputs, self.outputs = inputs, (output,)
        self.from_logits = from_logits

    def forward(self, image: torch.Tensor, coarse: torch.Tensor | None = None) -> torch.Tensor:
        """Return the probabilities of images ``[N, C, ...]``, given their coarse probability if the part takes one."""
        answer = self.part(image) if coarse is None else self.part(image, coarse)
        return torch.sigmoid(answer) if self.from_logits else answer


def served_nets(method: Method, network: nn.Module) -> dict[str, ServedNet]:
    """Served nets of a method's network, by the name of the served model."""
    return {part.model: _net(part, network).eval() for part in method.served}


def _net(part: ServedPart, network: nn.Module) -> ServedNet:
    if part.module is None:
        return ServedNet(AsPredictor(network), part.inputs, part.output)
    return ServedNet(network.get_submodule(part.module), part.inputs, part.output, from_logits=True)


def tensor_shapes(nets: Mapping[str, ServedNet], image_shape: tuple[int, ...]) -> dict[str, dict[str, list[int]]]:
    """Tensor shapes without the batch by net, determined by running the network.

    Raises:
        InputError: a net does not accept the images described in the side file.
    """
    return {name: _tensor_shapes(name, net, image_shape) for name, net in nets.items()}


def _tensor_shapes(name: str, net: ServedNet, image_shape: tuple[int, ...]) -> dict[str, list[int]]:
    try:
        with torch.inference_mode():
            answer = net(*(torch.zeros(1, *image_shape) for _ in net.inputs))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name}: the network does not take an image of {'x'.join(map(str, image_shape))}, which its side file "
            f"describes: take the pair that one training wrote ({reason})"
        ) from None
    return {tensor: list(image_shape) for tensor in net.inputs} | {net.outputs[0]: list(answer.shape[1:])}
