"""Weights and the side file that describes their network."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import torch
from lung_nodule.errors import CheckpointError
from torch import nn

logger = logging.getLogger(__name__)


def read_settings(checkpoint: str | Path) -> dict[str, Any]:
    """The side file ``<stem>.json`` next to a checkpoint: bundle, version, network, patch and window.

    Raises:
        CheckpointError: weights or side file are missing or cannot be read.
    """
    checkpoint = Path(checkpoint)
    side_file = checkpoint.with_suffix(".json")
    for path, meaning in ((checkpoint, "weights"), (side_file, "the side file (JSON) that describes the network")):
        if not path.is_file():
            raise CheckpointError(f"no {meaning} at {path}; train the bundle first or name another checkpoint")
    return read_side_file(side_file)


def load_weights(
    network: nn.Module, checkpoint: str | Path, *, device: str | torch.device = "cpu", reason: str = ""
) -> nn.Module:
    """Put a checkpoint's weights into a network, every one of them, and log which file they came from.

    Args:
        network: network that the checkpoint's side file describes.
        checkpoint: a ``.pt`` file of tensors with its side file next to it.
        device: device of the network.
        reason: reason why this file is used, for the log.

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
        raise mismatch_error(checkpoint, settings, error) from error
    logger.info(f"weights of {checkpoint}{f': {reason}' if reason else ''}")
    return network.to(device).eval()


def read_side_file(path: Path) -> dict[str, Any]:
    """The content of a side file.

    Raises:
        CheckpointError: it cannot be read or describes no network.
    """
    try:
        settings = json.loads(path.read_text())
        _ = settings["bundle"], dict(settings["network"]), settings["patch"], settings["window"]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not describe a network ({error!r}); take the file that training wrote"
        ) from error
    return settings


def mismatch_error(checkpoint: str | Path, settings: dict[str, Any], error: Exception) -> CheckpointError:
    """The error for weights that do not fit the network that their side file describes."""
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
