"""Ranks: who takes which nodule, which part of a batch, which device; and the order in which rows come back."""

import pytest
import torch
from torch import nn

from lung_nodule.errors import InputError
from lung_nodule.evaluation.ranks import interleave
from lung_nodule.training import RankSampler, device_of_rank, distributed_data_parallel, share, start_ranks


def ranks_shares(monkeypatch: pytest.MonkeyPatch, nodules: int, ranks: int) -> list[list[int]]:
    monkeypatch.setenv("WORLD_SIZE", str(ranks))
    shares = []
    for rank in range(ranks):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(list(RankSampler(range(nodules))))
    return shares


@pytest.mark.parametrize(("nodules", "ranks"), [(1, 1), (4, 2), (5, 2), (3, 4), (1, 2), (10, 4)])
def test_gathered_rows_are_those_of_one_process(monkeypatch: pytest.MonkeyPatch, nodules: int, ranks: int) -> None:
    shares = ranks_shares(monkeypatch, nodules, ranks)
    assert all(shares)
    rows = interleave([[{"nodule_id": index} for index in one] for one in shares])
    assert [row["nodule_id"] for row in rows] == list(range(nodules))


@pytest.mark.parametrize(("batch", "ranks", "expected"), [(16, 1, 16), (16, 2, 8), (15, 2, 7), (1, 2, 1)])
def test_a_batch_counts_all_ranks(monkeypatch: pytest.MonkeyPatch, batch: int, ranks: int, expected: int) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(ranks))
    assert share(batch) == expected


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


def test_a_frozen_network_is_not_wrapped() -> None:
    frozen = nn.Linear(2, 2).requires_grad_(False)
    assert distributed_data_parallel(frozen) is frozen
