"""Loaders: which rank takes which nodule and which part of a batch; and the order in which rows come back."""

from __future__ import annotations

import pytest
import torch
from monai.data import Dataset, DistributedSampler

from lung_nodule.data.rank_rows import interleave
from lung_nodule.errors import InputError
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


@pytest.mark.parametrize(("batch", "ranks", "expected"), [(16, 1, 16), (16, 2, 8), (15, 1, 15), (2, 2, 1)])
def test_a_batch_counts_all_ranks(monkeypatch: pytest.MonkeyPatch, batch: int, ranks: int, expected: int) -> None:
    as_rank(monkeypatch, 0, ranks)
    assert rank_batch_size(batch) == expected


@pytest.mark.parametrize(("batch", "ranks", "expected"), [(7, 1, 6), (8, 2, 4), (12, 3, 4), (4, 2, 2)])
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


@pytest.mark.parametrize(
    ("batch", "ranks", "multiple_of", "fitting"),
    [(15, 2, 1, "14 or 16"), (1, 2, 1, "2"), (6, 2, 2, "4 or 8"), (2, 2, 2, "4"), (64, 3, 2, "60 or 66")],
)
def test_a_batch_that_ranks_cannot_share_equally_is_refused(
    monkeypatch: pytest.MonkeyPatch, batch: int, ranks: int, multiple_of: int, fitting: str
) -> None:
    as_rank(monkeypatch, 0, ranks)
    with pytest.raises(InputError, match=rf"a batch size of {batch} .* {ranks} processes: choose {fitting}$"):
        rank_batch_size(batch, multiple_of=multiple_of)
    for size in fitting.split(" or "):
        assert rank_batch_size(int(size), multiple_of=multiple_of) * ranks == int(size)


@pytest.mark.parametrize(("items", "batch"), [(31, 16), (32, 16), (33, 8), (15, 16), (7, 4), (4, 64)])
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_take_as_many_steps_as_one_process(
    monkeypatch: pytest.MonkeyPatch, items: int, batch: int, ranks: int
) -> None:
    data = Dataset([{"image": torch.zeros(1)}] * items)
    alone = len(TrainingLoader(data, batch_size=batch))
    as_rank(monkeypatch, 0, ranks)
    assert len(TrainingLoader(data, batch_size=batch)) == alone


def test_fewer_items_than_ranks_take_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    as_rank(monkeypatch, 0, 2)
    with pytest.raises(InputError, match="3 training items are too few for 2 processes, which take 4 at once"):
        TrainingLoader(Dataset([{"image": torch.zeros(1)}] * 3), batch_size=8, multiple_of=2)


def drawn(monkeypatch: pytest.MonkeyPatch, *, seed: int) -> list[list[float]]:
    """What each of two ranks takes of eight items."""
    items = [{"image": torch.full((1,), float(index))} for index in range(8)]
    shares = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        loader = TrainingLoader(Dataset(items), batch_size=4, seed=seed)
        assert isinstance(loader.sampler, DistributedSampler)
        assert loader.batch_size == 2
        shares.append([float(value) for batch in loader for value in batch["image"]])
    return shares


def test_ranks_draw_different_items_of_one_shuffle(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [item for share in drawn(monkeypatch, seed=0) for item in share]
    assert sorted(seen) == [float(index) for index in range(8)]
    assert seen != sorted(seen)


def test_another_seed_is_another_order_on_several_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, seed=3) == drawn(monkeypatch, seed=3) != drawn(monkeypatch, seed=4)


def test_validation_takes_the_nodules_one_by_one_in_order() -> None:
    items = [{"image": torch.zeros(1, 2, 2, size), "nodule_id": f"n{size}"} for size in (3, 1, 2)]
    batches = list(ValidationLoader(Dataset(items)))
    assert [batch["nodule_id"] for batch in batches] == ["n3", "n1", "n2"]
    assert batches[0]["image"].shape == (1, 1, 2, 2, 3)


@pytest.mark.parametrize(("items", "ranks"), [(1, 1), (12, 2)])
def test_a_batch_too_small_for_its_norms_is_refused(items: int, ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    as_rank(monkeypatch, 0, ranks)
    with pytest.raises(InputError, match=f"a batch of 1 of {items} training items for each of {ranks} processes"):
        TrainingLoader(Dataset(list(range(items))), batch_size=2, least=2)
