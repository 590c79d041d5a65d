"""Initial weights of a stage: an earlier stage's weights, or pretrained weights."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256
from lung_nodule.networks import fitting_weights, load_pretrained
from monai.networks import copy_model_state

logger = logging.getLogger(__name__)


class LoadStageWeights:
    """Give a module an earlier stage's best weights when its own stage starts (never when it is built).

    Attach it before the handler that resumes.

    Args:
        checkpoint: ``best.pt`` of the earlier stage.
        network: module that takes the weights; by name and shape, so that layers of its own keep their initialization.
    """

    def __init__(self, *, checkpoint: str | Path, network: torch.nn.Module) -> None:
        self.checkpoint = Path(checkpoint)
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Called by the trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if not self.checkpoint.is_file():
            raise InputError(f"no {self.checkpoint}: run the stage `{self.checkpoint.parent.name}` first")
        weights = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        _, taken, kept = copy_model_state(self.network, weights)
        mismatched = [key for key in kept if key in weights]
        if not taken or mismatched:
            raise InputError(
                f"{self.checkpoint} holds the weights of another network ({len(taken)} tensors fit, "
                f"{len(mismatched)} differ in shape): train with the same --width and --middle_blocks"
            )
        logger.info(f"{len(taken)} tensors loaded from {self.checkpoint}, {len(kept)} keep their random initialization")


class Pretrained:
    """Give a network a user's pretrained weights when its stage starts (never when it is built).

    Attach it after the handler that resumes: a resumed stage keeps what it has and does not read the file again.

    Args:
        checkpoint: path of the file; None for random weights.
        network: module that takes the weights, by name and shape.
        layout: layout of the file's names, a key of :data:`lung_nodule.networks.LAYOUTS`.
    """

    def __init__(self, *, checkpoint: str | Path | None, network: torch.nn.Module, layout: str) -> None:
        self.checkpoint = checkpoint
        self.network = network
        self.layout = layout

    def check(self) -> None:
        """Refuse a file that does not fit before the stages that come earlier are trained; nothing is loaded.

        Raises:
            CheckpointError: as :func:`lung_nodule.networks.load_pretrained`.
        """
        if self.checkpoint is not None:
            fitting_weights(self.network, self.checkpoint, layout=self.layout)

    def attach(self, engine: Engine) -> None:
        """Called by the trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if self.checkpoint is not None and engine.state.epoch == 0:
            load_pretrained(self.network, self.checkpoint, layout=self.layout)


def pretrained_hash(checkpoint: str | Path | None) -> str | None:
    """SHA-256 of pretrained weights, for a resumed run and the side file; None for a random start.

    Raises:
        InputError: there is no such file.
    """
    if checkpoint is None:
        return None
    if not Path(checkpoint).is_file():
        raise InputError(f"no pretrained weights at {checkpoint}: name a file that torch.save wrote, or none")
    return file_sha256(checkpoint)
