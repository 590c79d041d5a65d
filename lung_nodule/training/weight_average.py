"""Running average of a stage's weights, validated and kept instead of those of the last step."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage:
    """An exponential moving average of the trained weights and batch-norm statistics (torch's ``AveragedModel``).

    Its state belongs to what a resumed stage restores.

    Args:
        network: network that is trained.
        decay: share of the average that stays at each step; 0.99 averages over about a hundred steps.

    Attributes:
        lent: handler that makes the validator run with the averaged weights.
    """

    def __init__(self, *, network: nn.Module, decay: float) -> None:
        self.network = network
        self.averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.lent = LentWeights(network, self.averaged.module)

    def attach(self, trainer: Engine) -> None:
        """Take the weights of every step in."""
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: self.averaged.update_parameters(self.network))

    def state_dict(self) -> dict[str, Any]:
        """The average and its number of steps."""
        return self.averaged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`'s."""
        self.averaged.load_state_dict(state)


class LentWeights:
    """While an engine runs, one network has the weights of another and that one its own.

    Args:
        network: network that the engine runs, or a part of it.
        other: same network with other weights.
    """

    def __init__(self, network: nn.Module, other: nn.Module) -> None:
        self.network = network
        self.other = other
        self.lent = False

    def attach(self, engine: Engine) -> None:
        """Called by the evaluator."""
        engine.add_event_handler(Events.STARTED, lambda _: self._lend())
        engine.add_event_handler(Events.COMPLETED, lambda _: self._take_back())
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)

    def _lend(self) -> None:
        self._exchange()
        self.lent = True

    def _take_back(self) -> None:
        if self.lent:
            self._exchange()
        self.lent = False

    def _failed(self, _: Engine, error: BaseException) -> None:
        """Ignite reports an error of a step twice, of the step and of the run."""
        self._take_back()
        raise error

    def _exchange(self) -> None:
        with torch.no_grad():
            for own, other in zip(self.network.state_dict().values(), self.other.state_dict().values(), strict=True):
                kept = own.clone()
                own.copy_(other)
                other.copy_(kept)
