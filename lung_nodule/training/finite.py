"""Training stops where it diverges."""

from __future__ import annotations

from typing import Any, cast

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from lung_nodule.errors import InputError
from torch import nn
from torch.optim import Optimizer


class StopAtNonFinite:
    """Ignite handler that ends a training at its first loss or weight that is NaN or infinite.

    Attach it before the checkpoints: what they wrote last is finite then, and a run with a lower rate can resume it.

    Args:
        stage: stage name, for the error.
        network: network whose weights are checked after every epoch.
        optimizer: optimizer whose learning rate the error names.
    """

    def __init__(self, *, stage: str, network: nn.Module, optimizer: Optimizer) -> None:
        self.stage = stage
        self.network = network
        self.optimizer = optimizer

    def attach(self, engine: Engine) -> None:
        """Check the loss of every step and the weights after every epoch."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.check_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.check_weights)

    def check_loss(self, engine: Engine) -> None:
        """Check one step.

        Raises:
            InputError: the loss of a rank is not finite.
        """
        if not _on_every_rank(bool(torch.isfinite(cast(Any, engine.state.output)["loss"]).all())):
            raise self._error(engine, "the loss")

    def check_weights(self, engine: Engine) -> None:
        """Check one epoch.

        Raises:
            InputError: a weight of a rank is not finite.
        """
        if not _on_every_rank(all_finite(self.network.state_dict())):
            raise self._error(engine, "a weight")

    def _error(self, engine: Engine, what: str) -> InputError:
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        return InputError(
            f"stage {self.stage}: {what} is NaN or infinite in epoch {engine.state.epoch}, at a learning rate of "
            f"{rate:g}: the training diverges; lower the learning rate"
        )


def all_finite(tensors: dict[str, torch.Tensor]) -> bool:
    """Whether no tensor has a NaN or an infinite element."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def _on_every_rank(value: bool) -> bool:
    return value if idist.get_world_size() == 1 else bool(idist.all_reduce(int(value), op="MIN"))
