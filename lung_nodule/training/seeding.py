"""Randomness that an interruption does not change."""

from __future__ import annotations

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.transforms import Randomizable


class SeedEpochs:
    """Seed shuffling, dropout and augmentation anew at every epoch, from the seed and the epoch's number.

    So a stage that was interrupted after an epoch goes on exactly as if it had not been, and a stage that runs alone
    draws what it would have drawn among the others. Each rank draws its own.

    Args:
        seed: of the training.
        transform: the random transforms of the training set.
    """

    def __init__(self, *, seed: int, transform: Randomizable) -> None:
        self.seed = seed
        self.transform = transform

    def attach(self, engine: Engine) -> None:
        """Called by the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        seed = 100_003 * self.seed + engine.state.epoch + 1_000_003 * idist.get_rank()
        torch.manual_seed(seed)
        self.transform.set_random_state(seed=seed)
