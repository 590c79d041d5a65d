"""What each bundle serves: its nets with their tensors, and what a client has to know about them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lung_nodule.core import MASK_THRESHOLD, VIEWS
from lung_nodule.data.adaptive import square_of
from lung_nodule.errors import InputError
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES, HIGHEST_RATING
from lung_nodule.networks import AsPredictor
from torch import nn

Settings = Mapping[str, Any]


class ServedNet(nn.Module):
    """A net as it is served: named tensors, probabilities instead of logits.

    Args:
        part: takes images, and perhaps their coarse probability, and gives one tensor.
        inputs: names of the tensors that it takes, all of the image's shape.
        output: name of the tensor that it gives.
        from_logits: whether the part gives logits, which are turned into probabilities here.
    """

    def __init__(self, part: nn.Module, inputs: tuple[str, ...], output: str, *, from_logits: bool = False) -> None:
        super().__init__()
        self.part = part
        self.inputs, self.outputs = inputs, (output,)
        self.from_logits = from_logits

    def forward(self, image: torch.Tensor, coarse: torch.Tensor | None = None) -> torch.Tensor:
        """The probabilities of images ``[N, C, ...]``, with their coarse probability where the part takes one."""
        answer = self.part(image) if coarse is None else self.part(image, coarse)
        return torch.sigmoid(answer) if self.from_logits else answer


@dataclass(frozen=True)
class ServedBundle:
    """What the export makes of a bundle's network and settings.

    Args:
        nets: by the name of the served model, from the network to the net.
        image_shape: from the settings to the shape of one image, ``(C, H, W)`` or ``(C, D, H, W)``.
        client: from the settings to what a client needs to prepare images and to read the answer: numbers, texts and
            lists of them. They stand in the export's record and, where a template names them, in the config.
    """

    nets: Mapping[str, Callable[[nn.Module], ServedNet]]
    image_shape: Callable[[Settings], tuple[int, ...]]
    client: Callable[[Settings], dict[str, Any]]

    def net_shapes(self, network: nn.Module, settings: Settings) -> dict[str, dict[str, list[int]]]:
        """By net, its tensors' shapes without the batch, as the network itself gives them.

        Raises:
            InputError: the network does not take the images that the settings describe.
        """
        shape = self.image_shape(settings)
        return {name: _tensor_shapes(name, make_net(network), shape) for name, make_net in self.nets.items()}


def _tensor_shapes(name: str, net: ServedNet, image_shape: tuple[int, ...]) -> dict[str, list[int]]:
    try:
        with torch.inference_mode():
            answer = net.eval()(*(torch.zeros(1, *image_shape) for _ in net.inputs))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name}: the network does not take an image of {'x'.join(map(str, image_shape))}, which its side file "
            f"describes: take the pair that one training wrote ({reason})"
        ) from None
    return {tensor: list(image_shape) for tensor in net.inputs} | {net.outputs[0]: list(answer.shape[1:])}


def _common(settings: Settings) -> dict[str, Any]:
    """Version, window and size: what the view of every bundle needs."""
    return {
        "version": str(settings["version"]),
        "image_size": _edge(settings),
        "window": [float(edge) for edge in settings["window"]],
    }


def _edge(settings: Settings) -> int:
    return int(settings["patch"]["image_size"])


def _patch_mm(settings: Settings) -> float:
    return float(settings["patch"]["patch_mm"])


def _mtnet_client(settings: Settings) -> dict[str, Any]:
    z_patch_mm = settings["patch"].get("z_patch_mm") or _patch_mm(settings)
    return {**_common(settings), "patch_mm": _patch_mm(settings), "z_patch_mm": float(z_patch_mm)}


def _mtmrnet_client(settings: Settings) -> dict[str, Any]:
    """The attributes' scales stand beside one another in the order of PRED's channels from the second on."""
    attributes = list(ATTRIBUTES) if settings["network"].get("regression", True) else []
    return {
        **_common(settings),
        "crop": settings["patch"]["crop"],
        **{f"square_{name}": value for name, value in asdict(square_of(settings["patch"]["crop"])).items()},
        "slices": "those within half the declared diameter of the centre",
        "image_channels": ["slice"],
        "pred_channels": ["malignancy", *attributes],
        "attribute_minimum": [1] * len(attributes),
        "attribute_maximum": [HIGHEST_RATING[attribute] for attribute in attributes],
        "nodule_score": "the mean over the slices of the nodule",
    }


def _mtcnn_client(settings: Settings) -> dict[str, Any]:
    views = [f"view_{view + 1}" for view in range(len(VIEWS))]
    return {
        **_common(settings),
        "patch_mm": _patch_mm(settings),
        "order": int(settings["patch"]["order"]),
        "image_channels": views,
        "pred_channels": views,
        "view_weights": [float(weight) for weight in settings["view_weights"]],
        "nodule_score": "the mean over the views, weighted by view_weights",
    }


def _e2emtl_client(settings: Settings) -> dict[str, Any]:
    """The thresholds stand beside one another in the order of PRED's channels from the third on."""
    channels = settings["channels"]
    classes = ["malignancy", *ATTRIBUTE_THRESHOLDS] if settings["network"].get("multi_task", True) else []
    return {
        **_common(settings),
        "patch_mm": _patch_mm(settings),
        "image_channels": list(channels["names"]),
        "slic_segments": int(channels["slic_segments"]),
        "slic_compactness": float(channels["slic_compactness"]),
        "pred_channels": ["mask", *classes],
        "attribute_high_from": [ATTRIBUTE_THRESHOLDS[attribute] for attribute in classes[1:]],
        "mask_threshold": MASK_THRESHOLD,
        "nodule_mask": "the component at the centre of the mask channel at mask_threshold, within the scan",
    }


SERVED: dict[str, ServedBundle] = {
    "mtnet": ServedBundle(
        nets={
            "mtnet_coarse": lambda network: ServedNet(network.coarse, ("IMAGE",), "COARSE", from_logits=True),
            "mtnet_fine": lambda network: ServedNet(network.fine, ("IMAGE", "COARSE"), "FINE", from_logits=True),
            "mtnet_class": lambda network: ServedNet(
                network.classifier, ("IMAGE", "COARSE"), "MALIGNANCY", from_logits=True
            ),
        },
        image_shape=lambda settings: (1, _edge(settings), _edge(settings)),
        client=_mtnet_client,
    ),
    "mtmrnet": ServedBundle(
        nets={"mtmrnet": lambda network: ServedNet(AsPredictor(network), ("IMAGE",), "PRED")},
        image_shape=lambda settings: (1, _edge(settings), _edge(settings)),
        client=_mtmrnet_client,
    ),
    "mtcnn": ServedBundle(
        nets={"mtcnn": lambda network: ServedNet(AsPredictor(network), ("IMAGE",), "PRED")},
        image_shape=lambda settings: (len(VIEWS), _edge(settings), _edge(settings)),
        client=_mtcnn_client,
    ),
    "e2emtl": ServedBundle(
        nets={"e2emtl": lambda network: ServedNet(AsPredictor(network), ("IMAGE",), "PRED")},
        image_shape=lambda settings: (len(settings["channels"]["names"]), *[_edge(settings)] * 3),
        client=_e2emtl_client,
    ),
}
"""Every bundle that can be exported."""
