"""Fixed randomness, which ends where it began."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from lung_nodule.training import fixed_randomness, run, seeded_weights


def drawn() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(1))]


def test_a_seed_fixes_what_is_drawn_and_the_process_draws_on_as_before() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = drawn()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    inside = []
    for seed in (7, 7, 8):
        with fixed_randomness(seed):
            inside.append(drawn())
            assert torch.backends.cudnn.deterministic
    assert inside[0] == inside[1] != inside[2]
    assert drawn() == expected
    assert not torch.backends.cudnn.deterministic


def test_a_run_that_fails_gives_everything_back() -> None:
    before = torch.get_rng_state()
    engine = Engine(lambda engine, batch: torch.rand(1))

    @engine.on(Events.ITERATION_COMPLETED(once=2))
    def stop(engine: Engine) -> None:
        raise KeyboardInterrupt

    engine.run = partial(engine.run, [0, 1, 2])
    with pytest.raises(KeyboardInterrupt):
        run(engine, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.backends.cudnn.deterministic


def test_a_seed_determines_a_networks_start_alone() -> None:
    options = {"in_features": 3, "out_features": 2}
    networks = [nn.Linear(**options) for _ in range(3)]
    state = torch.get_rng_state()
    first, second, other = (
        seeded_weights(network, options, seed=seed) for network, seed in zip(networks, (5, 5, 6), strict=True)
    )
    assert first is networks[0]
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), state)
