"""Table of the methods, each with its bundle's name, network, view and served models.

"Adding a method" in the README says what a new row needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lung_nodule.core import CubeView, NoduleView, PlanesView, SlicesView, SquareView
from lung_nodule.data.channels import ImageChannels
from lung_nodule.errors import CheckpointError, InputError
from lung_nodule.networks import (
    E2EMTL,
    MTCNN,
    E2EMTLPredictor,
    MTCNNPredictor,
    MTMRNet,
    MTMRNetPredictor,
    MTNet,
    MTNetPredictor,
    load_weights,
    mismatch_error,
    read_settings,
    read_side_file,
)
from torch import nn


@dataclass(frozen=True)
class ServedPart:
    """A part of a network that a server runs as a model of its own.

    Attributes:
        model: name of the served model, ``<bundle>_...``.
        inputs: names of its tensors, all of the image's shape.
        output: name of the tensor that it gives.
        module: the submodule that it is, whose logits are served as probabilities; None for the whole network, whose
            ``predict`` gives probabilities.
    """

    model: str
    inputs: tuple[str, ...] = ("IMAGE",)
    output: str = "PRED"
    module: str | None = None


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: name of the method's bundle, its folder, its side files' ``bundle`` and its models in the model
            repository.
        network: class of the trained network; its ``predict`` gives one tensor.
        predictor: class with the same weights by name, whose ``forward`` gives that tensor, for evaluation and
            inference.
        view: class of its view, which samples a nodule and names the tensor's channels.
        parts: parts of the network that are served; by default the whole network as ``<name>_net``.
        make_channels: factory of the view's image channels; its file is copied beside the served steps.
        map_weight: weight of its map in the panel's mean map of all methods that segment.
    """

    name: str
    network: type[nn.Module]
    predictor: type[nn.Module]
    view: type[NoduleView]
    parts: tuple[ServedPart, ...] = ()
    make_channels: type | None = None
    map_weight: float = 1.0

    @property
    def served(self) -> tuple[ServedPart, ...]:
        """Parts of the network that are served."""
        return self.parts or (ServedPart(f"{self.name}_net"),)

    @property
    def published(self) -> dict[str, Any]:
        """The network's options with their published values."""
        return {name: option.default for name, option in inspect.signature(self.network).parameters.items()}


METHODS: dict[str, Method] = {}
"""By name."""


def register(method: Method) -> None:
    """Add a row to the table.

    Raises:
        ValueError: another method has the name.
    """
    if METHODS.setdefault(method.name, method) != method:
        raise ValueError(f"there is a method {method.name!r} already: {METHODS[method.name]}")


register(
    Method(
        "mtnet",
        MTNet,
        MTNetPredictor,
        SlicesView,
        parts=(
            ServedPart("mtnet_coarse", output="COARSE", module="coarse"),
            ServedPart("mtnet_fine", inputs=("IMAGE", "COARSE"), output="FINE", module="fine"),
            ServedPart("mtnet_classifier", inputs=("IMAGE", "COARSE"), output="MALIGNANCY", module="classifier"),
        ),
        map_weight=0.4,  # 0.4 and 0.6 of the end-to-end network: the median of what the five validation folds choose
    )
)
register(Method("mtmrnet", MTMRNet, MTMRNetPredictor, SquareView))
register(Method("mtcnn", MTCNN, MTCNNPredictor, PlanesView))
register(Method("e2emtl", E2EMTL, E2EMTLPredictor, CubeView, make_channels=ImageChannels, map_weight=0.6))


def method_named(name: str) -> Method:
    """The method of a bundle.

    Raises:
        InputError: there is no method of that name.
    """
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}: name one of {', '.join(METHODS)}")
    return METHODS[name]


def model_settings(bundle: str, checkpoint: str | Path) -> dict[str, Any]:
    """Settings of a bundle's network: those of a checkpoint's side file if it exists, else the published options.

    The weights themselves need not be there.

    Args:
        bundle: name of a method.
        checkpoint: the ``.pt`` file next to its side file.

    Returns:
        the side file's content, whose ``network`` has every option; without a side file ``{"network": ...}`` alone.

    Raises:
        CheckpointError: the side file cannot be read or belongs to another bundle.
    """
    published = method_named(bundle).published
    side_file = Path(checkpoint).with_suffix(".json")
    if not side_file.is_file():
        return {"network": published}
    settings = read_side_file(side_file)
    if settings["bundle"] != bundle:
        raise CheckpointError(
            f"{side_file} belongs to the bundle {settings['bundle']}, not to {bundle}: name weights of {bundle}"
        )
    return {**settings, "network": {**published, **settings["network"]}}


def load_network(checkpoint: str | Path, *, device: str | torch.device = "cpu") -> nn.Module:
    """The network that a checkpoint's side file describes, with its weights, in evaluation mode.

    Args:
        checkpoint: a ``.pt`` file of tensors with its side file next to it.
        device: device of the network.

    Raises:
        CheckpointError: the files are missing, unreadable, of no method of the table, or the weights do not fit the
            described network.
    """
    settings = read_settings(checkpoint)
    method = _method_of(settings, checkpoint)
    try:
        network = method.network(**settings["network"])
    except Exception as error:
        raise mismatch_error(checkpoint, settings, error) from error
    return load_weights(network, checkpoint, device=device)


def load_view(checkpoint: str | Path) -> NoduleView:
    """The view of a trained model, as its side file says.

    Args:
        checkpoint: a ``.pt`` file with its side file next to it.

    Raises:
        CheckpointError: the files are missing, unreadable, or of no method of the table.
    """
    settings = read_settings(checkpoint)
    method = _method_of(settings, checkpoint)
    options = {"make_channels": method.make_channels(**settings["channels"])} if method.make_channels else {}
    return method.view.from_settings(settings, **options)


def _method_of(settings: Mapping[str, Any], checkpoint: str | Path) -> Method:
    if settings["bundle"] not in METHODS:
        side_file = Path(checkpoint).with_suffix(".json")
        raise CheckpointError(f"{side_file} names the bundle {settings['bundle']!r}, none of {', '.join(METHODS)}")
    return METHODS[settings["bundle"]]
