"""Fixed randomness of a run, of a network's initial weights, and of every epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events, State
from lung_nodule.training.distributed import require_process_group
from monai.transforms import Randomizable
from torch import nn
from torch.backends import cudnn


def run(engine: Engine, *, seed: int) -> State:
    """Run a trainer or an evaluator with fixed randomness; the random state is restored at the end, however it ends.

    Args:
        engine: engine to run.
        seed: seed of all random generators.

    Returns:
        the engine's state.

    Raises:
        InputError: torchrun started several processes, and the configuration is for one.
    """
    require_process_group()
    with fixed_randomness(seed):
        return engine.run()


def seeded_weights(network: nn.Module, options: Mapping[str, Any], *, seed: int) -> nn.Module:
    """Give a network the initial weights that a seed determines; the process's own random state stays unchanged.

    Args:
        network: new network, built with these options.
        options: options of its class.
        seed: seed of the weights.

    Returns:
        the network itself.
    """
    with fixed_randomness(seed):
        network.load_state_dict(type(network)(**options).state_dict())
    return network


@contextmanager
def fixed_randomness(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch and choose cuDNN's deterministic algorithms for a while.

    MONAI's ``set_determinism`` does as much for the whole process and cannot restore the earlier state.

    Args:
        seed: seed, taken modulo 2 ** 32, as NumPy takes no more.
    """
    python, numpy = random.getstate(), np.random.get_state()
    flags = cudnn.deterministic, cudnn.benchmark
    try:
        with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
            seed %= 2**32
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            cudnn.deterministic, cudnn.benchmark = True, False
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = flags
        random.setstate(python)
        np.random.set_state(numpy)


class SeedEpochs:
    """Seed shuffling, dropout and augmentation at every epoch, from the seed and the epoch's number.

    So a stage that was interrupted after an epoch continues exactly as if it had not been, and a stage that runs alone
    draws what it would have drawn among the others. Each rank draws its own.

    Args:
        seed: seed of the training.
        transform: random transforms of the training set.
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
