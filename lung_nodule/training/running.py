"""Runs that leave the process as they found it: notebooks and servers go on with their own settings afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, State
from torch import nn
from torch.backends import cudnn


def run(engine: Engine, *, seed: int) -> State:
    """Run a trainer or an evaluator with fixed randomness, which is given back at the end, however it ends.

    Args:
        engine: what runs.
        seed: of all random generators.

    Returns:
        the engine's state.
    """
    with fixed_randomness(seed):
        return engine.run()


def seeded_weights(network: nn.Module, options: Mapping[str, Any], *, seed: int) -> nn.Module:
    """Give a network the start that a seed determines; the process's own random numbers stay where they are.

    Args:
        network: fresh, and built with these options.
        options: of its class.
        seed: of the weights.

    Returns:
        the network itself.
    """
    with fixed_randomness(seed):
        network.load_state_dict(type(network)(**options).state_dict())
    return network


@contextmanager
def fixed_randomness(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch and choose cuDNN's deterministic algorithms for a while.

    MONAI's ``set_determinism`` does as much for the whole process and has no way back to what was there before.

    Args:
        seed: taken modulo 2 ** 32, as NumPy takes no more.
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
