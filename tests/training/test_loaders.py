"""Loaders: which rank takes which nodule and which part of a batch; and the order in which rows come back."""

from __future__ import annotations

import pytest
import torch
from monai.data import Dataset, DistributedSampler

from lung_nodule.data.rank_rows import interleave
from lung_nodule.training import RankSampler, TrainingLoader, ValidationLoader, loaders, rank_batch_size


def as_rank(monkeypatch: pytest.MonkeyPatch, rank: int, ranks: int) -> None:
    monkeypatch.setattr(loaders.idist, "get_rank", lambda: rank)
    monkeypatch.setattr(loaders.idist, "get_world_size", lambda: ranks)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda *_: rank)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *_: ranks)
    monkeypatch.setattr(torch.distributed, "is_available", lambda: True)


def ranks_shares(monkeypatch: pytest.MonkeyPatch, nodules: int, ranks: int) -> list[list[int]]:
    shares = []
    for rank in range(ranks):
        as_rank(monkeypatch, rank, ranks)
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
    as_rank(monkeypatch, 0, ranks)
    assert rank_batch_size(batch) == expected


@pytest.mark.parametrize(("batch", "ranks", "expected"), [(7, 1, 6), (8, 2, 4), (6, 2, 2), (2, 2, 2)])
def test_batches_of_pairs_are_even_on_every_rank(
    monkeypatch: pytest.MonkeyPatch, batch: int, ranks: int, expected: int
) -> None:
    as_rank(monkeypatch, 0, ranks)
    assert rank_batch_size(batch, multiple_of=2) == expected


def test_a_training_batch_is_whole_and_no_larger_than_the_data() -> None:
    items = [{"image": torch.full((1,), float(index))} for index in range(7)]
    loader = TrainingLoader(Dataset(items), batch_size=3)
    seen = [float(value) for batch in loader for value in batch["image"]]
    assert len(seen) == len(set(seen)) == 6
    assert TrainingLoader(Dataset(items), batch_size=64).batch_size == 7
    assert TrainingLoader(Dataset(items), batch_size=64, drop_last=False).drop_last is False


def test_ranks_draw_different_items_of_one_shuffle(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"image": torch.full((1,), float(index))} for index in range(8)]
    seen = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        loader = TrainingLoader(Dataset(items), batch_size=4)
        assert isinstance(loader.sampler, DistributedSampler)
        assert loader.batch_size == 2
        seen += [float(value) for batch in loader for value in batch["image"]]
    assert sorted(seen) == [float(index) for index in range(8)]
    assert seen != sorted(seen)


def test_validation_takes_the_nodules_one_by_one_in_order() -> None:
    items = [{"image": torch.zeros(1, 2, 2, size), "nodule_id": f"n{size}"} for size in (3, 1, 2)]
    batches = list(ValidationLoader(Dataset(items)))
    assert [batch["nodule_id"] for batch in batches] == ["n3", "n1", "n2"]
    assert batches[0]["image"].shape == (1, 1, 2, 2, 3)
