"""Published weights, trained on photographs, loaded into these networks by name and shape.

None are shipped. A layout says how a published network names its tensors, which input it was trained on, and which is
its first convolution. The networks here see a CT window in 0..1, so the published normalisation of the input is folded
into the first convolution and its batch norm: ``conv(W, (x - m) / s) = conv(W / s, x) - sum(W m / s)``, and the batch
norm after it absorbs the constant. Inference and export need no further step. The folded convolution is equal except
for the zeros that pad the border of the image, which mean ``m`` there and air here. Of the two Xceptions the rest of
the network differs by one ReLU, before the exit flow's last three convolutions: both were trained without it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lung_nodule.errors import CheckpointError
from monai.networks import copy_model_state
from torch import nn

logger = logging.getLogger(__name__)

OUR_EPS = 1e-5  # epsilon of every batch norm here
NAMES_IN_LOG = 20


@dataclass(frozen=True)
class Layout:
    """Layout of a published network's weights.

    Attributes:
        rename: function from a name in the file to the name here; None for a tensor without a place here (a
            classifier's head).
        conv: name of the first convolution here.
        norm: name of the batch norm after it here.
        mean: mean of each input channel in 0..1, as the published network was trained.
        std: standard deviation of each input channel, likewise.
        eps: epsilon of its batch norms.
    """

    rename: Callable[[str], str | None]
    conv: str
    norm: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    eps: float = OUR_EPS


@dataclass(frozen=True)
class Matched:
    """Match of a file with a network: tensors taken, unused tensors of the file, tensors here that were not loaded."""

    taken: list[str]
    unused: list[str]
    not_loaded: list[str]

    def __str__(self) -> str:
        counts = f"{len(self.taken)} tensors taken"
        return f"{counts}; unused in the file: {_listed(self.unused)}; not loaded: {_listed(self.not_loaded)}"


def load_pretrained(network: nn.Module, path: str | Path, *, layout: str | Layout) -> Matched:
    """Give a network the published weights of a file, by name and shape; what matched is logged.

    Args:
        network: module whose names the layout refers to (an encoder, a whole classifier); changed in place.
        path: file that ``torch.save`` wrote: a state dict, or one under ``state_dict`` or ``model``; a ``module.`` in
            front of every name is taken off. Read with ``weights_only=True``.
        layout: key of :data:`LAYOUTS`, or another layout.

    Raises:
        CheckpointError: an unknown layout, a file that is missing or no state dict, or one that has nothing for the
            network.
    """
    weights, matched = fitting_weights(network, path, layout=layout)
    copy_model_state(network, weights)
    logger.info(f"{path} ({layout if isinstance(layout, str) else 'given'}): {matched}")
    return matched


def fitting_weights(
    network: nn.Module, path: str | Path, *, layout: str | Layout
) -> tuple[dict[str, torch.Tensor], Matched]:
    """Weights that :func:`load_pretrained` would load, by the network's names; the network is unchanged.

    Args:
        network: as for :func:`load_pretrained`.
        path: as for :func:`load_pretrained`.
        layout: as for :func:`load_pretrained`.

    Raises:
        CheckpointError: likewise.
    """
    name, layout = _named_layout(layout)
    found = read_state_dict(path)
    weights = {new: value for old, value in found.items() if (new := layout.rename(old)) is not None}
    unplaced = sorted(old for old in found if layout.rename(old) is None)
    own = {key: value for key, value in network.state_dict().items() if _is_weight(key)}
    weights = _as_kernels(_fitted(weights, layout, own), own)
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    if not fitting:
        known = sum(key in own for key in weights)
        raise CheckpointError(
            f"{path} has nothing for this network in the layout {name}: {known} of its {len(found)} tensors match by "
            "name, none of them by shape; published weights fit width 1 alone, and the layout must be the file's"
        )
    unused, not_loaded = set(weights) - set(fitting), set(own) - set(fitting)
    return fitting, Matched(sorted(fitting), unplaced + sorted(unused), sorted(not_loaded))


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, without wrappers, the prefix ``module.`` and batch norms' counters.

    Raises:
        CheckpointError: the file is missing or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no pretrained weights at {path}: name a file that torch.save wrote, or none")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise CheckpointError(
            f"{path} cannot be read as tensors alone ({reason}); save the model's state_dict() with torch.save"
        ) from error
    content = _unwrapped(content)
    if not isinstance(content, Mapping) or not any(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no state dict; save the model's state_dict() with torch.save")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    return {key.removeprefix("module."): value for key, value in tensors.items() if _is_weight(key)}


def _unwrapped(content: Any) -> Any:
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    return content


def _is_weight(key: str) -> bool:
    """Whether a tensor is a weight; a batch norm's counter fits every network and is ignored."""
    return not key.endswith("num_batches_tracked")


def _named_layout(layout: str | Layout) -> tuple[str, Layout]:
    if isinstance(layout, Layout):
        return "given", layout
    if layout not in LAYOUTS:
        raise CheckpointError(f"unknown layout {layout!r} of pretrained weights: choose one of {', '.join(LAYOUTS)}")
    return layout, LAYOUTS[layout]


def _fitted(
    weights: dict[str, torch.Tensor], layout: Layout, own: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights for an input in 0..1, for batch norms with :data:`OUR_EPS`, and for further input channels."""
    weights = {
        key: value + (layout.eps - OUR_EPS) if key.endswith("running_var") else value for key, value in weights.items()
    }
    conv, shift = f"{layout.conv}.weight", f"{layout.norm}.running_mean"
    if conv not in weights or shift not in weights or weights[conv].shape[1] != len(layout.mean):
        return weights
    kernel = weights[conv]
    mean, std = (kernel.new_tensor(values)[None, :, None, None] for values in (layout.mean, layout.std))
    further = own[conv].shape[1] - kernel.shape[1] if conv in own else 0
    copies = kernel.mean(dim=1, keepdim=True).expand(-1, max(0, further), -1, -1)
    return {
        **weights,
        conv: torch.cat([kernel / std, copies], dim=1),
        shift: weights[shift] + (kernel * mean / std).sum(dim=(1, 2, 3)),
    }


def _as_kernels(weights: dict[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """1x1 kernels that a file stores as matrices (Keras's) get their two axes of length 1."""
    return {
        key: value[:, :, None, None] if value.dim() == 2 and key in own and own[key].dim() == 4 else value
        for key, value in weights.items()
    }


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_IN_LOG} more" if len(names) > NAMES_IN_LOG else ""
    return f"{len(names)} ({', '.join(names[:NAMES_IN_LOG])}{more})" if names else "0"


def _resnet50(name: str) -> str | None:
    """torchvision's names are MONAI's, except for the head."""
    return None if name.startswith("fc.") else name


def _timm_xception65(name: str) -> str | None:
    """timm's ``xception65``: stem, blocks 0-20 (the last without a residual path), head."""
    if match := re.fullmatch(r"stem\.(\d)\.(conv|bn)\.(\w+)", name):
        return f"stem.{match[1]}.{_UNITS[match[2]]}.{match[3]}"
    if match := re.fullmatch(r"blocks\.(\d+)\.shortcut\.(conv|bn)\.(\w+)", name):
        return f"{_aligned_block(int(match[1]))}.residual.{_UNITS[match[2]]}.{match[3]}"
    if match := re.fullmatch(r"blocks\.(\d+)\.stack\.conv(\d)\.(conv|bn)_(dw|pw)\.(\w+)", name):
        block, conv, unit, part, leaf = match.groups()
        return f"{_aligned_conv(int(block), int(conv))}.{('dw', 'pw').index(part)}.{_UNITS[unit]}.{leaf}"
    return None


def _deeplab_xception65(name: str) -> str | None:
    """The aligned Xception-65 of DeepLabv3+ ports after YudeWang's: blocks 1-20, then conv3 to conv5."""
    if match := re.fullmatch(r"(conv|bn)([12])\.(\w+)", name):
        return f"stem.{int(match[2]) - 1}.{_UNITS[match[1]]}.{match[3]}"
    if match := re.fullmatch(r"block(\d+)\.skip(bn)?\.(\w+)", name):
        return f"{_aligned_block(int(match[1]) - 1)}.residual.{_UNITS[match[2] or 'conv']}.{match[3]}"
    match = re.fullmatch(r"(?:block(\d+)\.sepconv([123])|conv([345]))\.(depthwise|pointwise|bn1|bn2)\.(\w+)", name)
    if match is None:
        return None
    block, conv, last, part, leaf = match.groups()
    place = _aligned_conv(20, int(last) - 2) if last else _aligned_conv(int(block) - 1, int(conv))
    return f"{place}.{_DEEPLAB_PARTS[part]}.{leaf}"


def _aligned_block(block: int) -> str:
    """Name here of block 0-19 of an aligned Xception-65."""
    return f"entry{block + 1}" if block < 3 else "exit" if block == 19 else f"middle.{block - 3}"


def _aligned_conv(block: int, conv: int) -> str:
    """Name here of separable convolution 1-3 of block 0-20."""
    return f"exit_convs.{conv}" if block == 20 else f"{_aligned_block(block)}.conv{conv}"


def _xception(name: str) -> str | None:
    """Xception by Cadene's names, which are timm's ``legacy_xception``'s: conv1, conv2, blocks 1-12, conv3, conv4."""
    if match := re.fullmatch(r"(conv|bn)([12])\.(\w+)", name):
        return f"stem.{int(match[2]) - 1}.{_UNITS[match[1]]}.{match[3]}"
    if match := re.fullmatch(r"(?:conv([34])\.(conv1|pointwise)|bn([34]))\.(\w+)", name):
        conv, part, norm, leaf = match.groups()
        return f"exit.{2 * int(conv or norm) - 5}.{_PLAIN_PARTS[part]}.{leaf}"
    if match := re.fullmatch(r"block(\d+)\.skip(bn)?\.(\w+)", name):
        return f"{_plain_block(int(match[1]))}.residual.{_UNITS[match[2] or 'conv']}.{match[3]}"
    match = re.fullmatch(r"block(\d+)\.rep\.(\d+)\.(?:(conv1|pointwise)\.)?(\w+)", name)
    if match is None:
        return None
    block, step, part, leaf = int(match[1]), int(match[2]), match[3], match[4]
    conv = (step if part else step - 1) // 3  # theirs: ReLU, convolution, batch norm; here the last two are one step
    return f"{_plain_block(block)}.convs.{2 * conv + (block > 1)}.{_PLAIN_PARTS[part]}.{leaf}"


def _plain_block(block: int) -> str:
    """Name here of block 1-12 of Xception."""
    return f"entry.{block - 1}" if block < 4 else "exit.0" if block == 12 else f"middle.{block - 4}"


_UNITS = {"conv": "conv", "bn": "adn.N"}
_DEEPLAB_PARTS = {"depthwise": "0.conv", "bn1": "0.adn.N", "pointwise": "1.conv", "bn2": "1.adn.N"}
_PLAIN_PARTS = {"conv1": "0", "pointwise": "1", None: "2"}
_HALF = (0.5, 0.5, 0.5)

LAYOUTS: dict[str, Layout] = {
    "torchvision_resnet50": Layout(_resnet50, "conv1", "bn1", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "timm_xception65": Layout(_timm_xception65, "stem.0.conv", "stem.0.adn.N", _HALF, _HALF, eps=1e-3),
    "deeplab_xception65": Layout(_deeplab_xception65, "stem.0.conv", "stem.0.adn.N", _HALF, _HALF),
    "xception": Layout(_xception, "stem.0.conv", "stem.0.adn.N", _HALF, _HALF),
}
