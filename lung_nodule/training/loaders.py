"""Batches of a training and of its validation, each rank's part where several run."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import ignite.distributed as idist
from lung_nodule.data import NoduleSlices, one_nodule
from monai.data import DataLoader, Dataset, DistributedSampler
from torch.utils.data import Sampler


class TrainingLoader(DataLoader):
    """Shuffled whole batches: MONAI's ``DataLoader``, whose batch size counts all ranks together.

    Args:
        dataset: training dataset, with the random transforms as its ``transform``; a batch is no larger than it.
        batch_size: number of items of all ranks together.
        multiple_of: number that each rank's batch is a multiple of (2 for a loss of pairs).
        options: options of ``DataLoader``.
    """

    def __init__(
        self, dataset: NoduleSlices | Dataset, *, batch_size: int, multiple_of: int = 1, **options: Any
    ) -> None:
        self.transform: Any = dataset.transform
        order: dict[str, Any] = {"shuffle": True}
        if idist.get_world_size() > 1:
            order = {"sampler": DistributedSampler(dataset, even_divisible=True, shuffle=True)}
        size = rank_batch_size(min(batch_size, len(dataset)), multiple_of=multiple_of)
        super().__init__(dataset, **{"batch_size": size, "drop_last": True, **order, **options})


class ValidationLoader(DataLoader):
    """One nodule a batch, in the dataset's order: MONAI's ``DataLoader``, each nodule on one of the ranks.

    Args:
        dataset: dataset of nodules, each with all of its slices.
        options: options of ``DataLoader``.
    """

    def __init__(self, dataset: Dataset, **options: Any) -> None:
        sampler = RankSampler(dataset)
        super().__init__(dataset, **{"batch_size": 1, "collate_fn": one_nodule, "sampler": sampler, **options})


def rank_batch_size(batch_size: int, *, multiple_of: int = 1) -> int:
    """This rank's part of a batch that counts all ranks; at least one multiple."""
    return multiple_of * max(1, batch_size // idist.get_world_size() // multiple_of)


class RankSampler(Sampler[int]):
    """Every item once over all ranks, in the dataset's order: rank r of n takes items r, r + n, r + 2n, ...

    MONAI's ``DistributedSampler(even_divisible=False)`` refuses fewer items than ranks; here a rank without a share
    repeats item 0 (it must take part in gathering), which the evaluation's files drop again.

    Args:
        dataset: anything with a length.
    """

    def __init__(self, dataset: Sized) -> None:
        self.indices = list(range(len(dataset)))[idist.get_rank() :: idist.get_world_size()] or [0]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
