"""Ranks: which device and which items each takes, and what it trains."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from lung_nodule.errors import InputError
from lung_nodule.training import device_of_rank, distributed, distributed_data_parallel, part_of_rank, run, start_ranks


def test_each_rank_takes_its_gpu_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device_of_rank() == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of_rank() == "cuda:1"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="--nproc_per_node=1"):
        device_of_rank()


def test_without_torchrun_it_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="torchrun --standalone"):
        start_ranks("cpu")


def test_each_rank_takes_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    assert part_of_rank([0, 1, 2]) == [0, 1, 2]
    monkeypatch.setattr(distributed.idist, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed.idist, "get_rank", lambda: 1)
    assert part_of_rank([0, 1, 2]) == [1]


def test_a_frozen_network_is_not_wrapped_nor_one_that_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    assert distributed_data_parallel(alone) is alone
    monkeypatch.setattr(distributed.idist, "get_world_size", lambda: 2)
    assert distributed_data_parallel(frozen) is frozen
    with pytest.raises(ValueError, match="process group"):
        distributed_data_parallel(alone)


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun without the multi-GPU configuration: each would write the same files."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"torchrun started 2 processes, .* add the bundle's multi_gpu_train.json"):
        run(Engine(lambda engine, item: None), seed=0)
