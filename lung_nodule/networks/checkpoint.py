"""Weights and the side file that says which network they fit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .e2emtl import E2EMTL
from .errors import CheckpointError
from .mtcnn import MTCNN
from .mtmrnet import MTMRNet
from .mtnet import MTNet

NETWORKS: dict[str, type[nn.Module]] = {"e2emtl": E2EMTL, "mtcnn": MTCNN, "mtmrnet": MTMRNet, "mtnet": MTNet}
"""Each bundle's network."""


def read_settings(checkpoint: str | Path) -> dict[str, Any]:
    """The side file ``<stem>.json`` beside a checkpoint: bundle, version, network, field and window.

    Raises:
        CheckpointError: weights or side file are missing or cannot be read.
    """
    checkpoint = Path(checkpoint)
    side_file = checkpoint.with_suffix(".json")
    for path, meaning in ((checkpoint, "weights"), (side_file, "the side file that names its network's width")):
        if not path.is_file():
            raise CheckpointError(f"no {meaning} at {path}; train the bundle first or name another checkpoint")
    try:
        settings = json.loads(side_file.read_text())
        settings["bundle"], settings["network"], settings["field"], settings["window"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{side_file} does not describe a network ({error!r}); take the file that training wrote"
        ) from error
    if settings["bundle"] not in NETWORKS:
        raise CheckpointError(f"{side_file} names the bundle {settings['bundle']!r}, none of {', '.join(NETWORKS)}")
    return settings


def load_network(checkpoint: str | Path, *, device: str | torch.device = "cpu") -> nn.Module:
    """The network that a checkpoint's side file describes, with its weights, in evaluation mode.

    Args:
        checkpoint: a ``.pt`` file of tensors with its side file beside it.
        device: where the network is put.

    Raises:
        CheckpointError: the files are missing, unreadable, or the weights do not fit the described network.
    """
    settings = read_settings(checkpoint)
    _check_pair(Path(checkpoint), settings)
    try:
        network = NETWORKS[settings["bundle"]](**settings["network"])
        network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{checkpoint} does not hold the weights of {settings['bundle']} with {settings['network']}, "
            f"which its side file names; use the pair that one training wrote ({reason})"
        ) from error
    return network.to(device).eval()


def _check_pair(checkpoint: Path, settings: dict[str, Any]) -> None:
    """Refuse weights that are not those which the side file was written for (where it says which)."""
    named = settings.get("weights_sha256")
    if named is not None and hashlib.sha256(checkpoint.read_bytes()).hexdigest() != named:
        raise CheckpointError(
            f"{checkpoint} and its side file were not written together (the SHA-256 differs); use the pair that one "
            "training wrote"
        )
