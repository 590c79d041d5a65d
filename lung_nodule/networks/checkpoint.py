"""Weights and the side file that says which network they fit."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from pathlib import Path
from typing import Any

import torch
from lung_nodule.errors import CheckpointError
from lung_nodule.networks.e2emtl import E2EMTL
from lung_nodule.networks.mtcnn import MTCNN
from lung_nodule.networks.mtmrnet import MTMRNet
from lung_nodule.networks.mtnet import MTNet
from torch import nn

logger = logging.getLogger(__name__)

NETWORKS: dict[str, type[nn.Module]] = {"e2emtl": E2EMTL, "mtcnn": MTCNN, "mtmrnet": MTMRNet, "mtnet": MTNet}
"""Each bundle's network."""


def read_settings(checkpoint: str | Path) -> dict[str, Any]:
    """The side file ``<stem>.json`` beside a checkpoint: bundle, version, network, patch and window.

    Raises:
        CheckpointError: weights or side file are missing or cannot be read.
    """
    checkpoint = Path(checkpoint)
    side_file = checkpoint.with_suffix(".json")
    for path, meaning in ((checkpoint, "weights"), (side_file, "the side file that names its network's width")):
        if not path.is_file():
            raise CheckpointError(f"no {meaning} at {path}; train the bundle first or name another checkpoint")
    return _side_file(side_file)


def model_settings(bundle: str, checkpoint: str | Path) -> dict[str, Any]:
    """What a bundle's network is built with: a checkpoint's side file where there is one, else the published options.

    The weights themselves need not be there.

    Args:
        bundle: a key of :data:`NETWORKS`.
        checkpoint: the ``.pt`` file beside which the side file lies.

    Returns:
        the side file's content, whose ``network`` has every option; without a side file ``{"network": ...}`` alone.

    Raises:
        CheckpointError: the side file cannot be read or belongs to another bundle.
    """
    published = {name: parameter.default for name, parameter in inspect.signature(NETWORKS[bundle]).parameters.items()}
    side_file = Path(checkpoint).with_suffix(".json")
    if not side_file.is_file():
        return {"network": published}
    settings = _side_file(side_file)
    if settings["bundle"] != bundle:
        raise CheckpointError(
            f"{side_file} belongs to the bundle {settings['bundle']}, not to {bundle}: name weights of {bundle}"
        )
    return {**settings, "network": {**published, **settings["network"]}}


def load_network(checkpoint: str | Path, *, device: str | torch.device = "cpu") -> nn.Module:
    """The network that a checkpoint's side file describes, with its weights, in evaluation mode.

    Args:
        checkpoint: a ``.pt`` file of tensors with its side file beside it.
        device: where the network is put.

    Raises:
        CheckpointError: the files are missing, unreadable, or the weights do not fit the described network.
    """
    settings = read_settings(checkpoint)
    try:
        network = NETWORKS[settings["bundle"]](**settings["network"])
    except Exception as error:
        raise _misfit(checkpoint, settings, error) from error
    return load_weights(network, checkpoint, device=device)


def load_weights(
    network: nn.Module, checkpoint: str | Path, *, device: str | torch.device = "cpu", reason: str = ""
) -> nn.Module:
    """Put a checkpoint's weights into a network, every one of them, and log which file they came from.

    Args:
        network: as the checkpoint's side file describes it.
        checkpoint: a ``.pt`` file of tensors with its side file beside it.
        device: where the network is put.
        reason: why this file, for the log.

    Returns:
        the network itself, in evaluation mode.

    Raises:
        CheckpointError: the files are missing, unreadable, or the weights do not fit the network.
    """
    settings = read_settings(checkpoint)
    _check_pair(Path(checkpoint), settings)
    try:
        network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except Exception as error:
        raise _misfit(checkpoint, settings, error) from error
    logger.info(f"weights of {checkpoint}{f': {reason}' if reason else ''}")
    return network.to(device).eval()


def _side_file(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
        _ = settings["bundle"], dict(settings["network"]), settings["patch"], settings["window"]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not describe a network ({error!r}); take the file that training wrote"
        ) from error
    if settings["bundle"] not in NETWORKS:
        raise CheckpointError(f"{path} names the bundle {settings['bundle']!r}, none of {', '.join(NETWORKS)}")
    return settings


def _misfit(checkpoint: str | Path, settings: dict[str, Any], error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:300]
    return CheckpointError(
        f"{checkpoint} does not hold the weights of {settings['bundle']} with {settings['network']}, "
        f"which its side file names; use the pair that one training wrote ({reason})"
    )


def _check_pair(checkpoint: Path, settings: dict[str, Any]) -> None:
    """Refuse weights that are not those which the side file was written for (where it says which)."""
    named = settings.get("weights_sha256")
    if named is not None and hashlib.sha256(checkpoint.read_bytes()).hexdigest() != named:
        raise CheckpointError(
            f"{checkpoint} and its side file were not written together (the SHA-256 differs); use the pair that one "
            "training wrote"
        )
