"""Batches of a training and of its validation, each rank's part where several run."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import ignite.distributed as idist
from lung_nodule.data import NoduleSlices, one_nodule
from lung_nodule.errors import InputError
from monai.data import DataLoader, Dataset, DistributedSampler
from torch.utils.data import Sampler


class TrainingLoader(DataLoader):
    """Shuffled whole batches: MONAI's ``DataLoader``, whose batch size counts all ranks together.

    Several ranks take as many steps an epoch as one process does. A dataset that is smaller than a batch is one batch,
    of equal parts.

    Args:
        dataset: training dataset, with the random transforms as its ``transform``; a batch is no larger than it.
        batch_size: number of items of all ranks together.
        multiple_of: number that each rank's batch is a multiple of (2 for a loss of pairs).
        least: smallest batch of a rank (2 for a network with a batch norm of one value per channel and image).
        seed: seed of the order that several ranks share; a single process draws its order from torch's generator.
        options: options of ``DataLoader``.

    Raises:
        InputError: several ranks cannot take equal parts of a batch, there are fewer items than they take at once, or
            a rank's batch is smaller than ``least``.
    """

    def __init__(
        self,
        dataset: NoduleSlices | Dataset,
        *,
        batch_size: int,
        multiple_of: int = 1,
        least: int = 1,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.transform: Any = dataset.transform
        order: dict[str, Any] = {"shuffle": True}
        size = rank_batch_size(batch_size, multiple_of=multiple_of)
        ranks = idist.get_world_size()
        if ranks > 1:
            if len(dataset) < ranks * multiple_of:
                raise InputError(
                    f"{len(dataset)} training items are too few for {ranks} processes, which take "
                    f"{ranks * multiple_of} at once: run fewer processes"
                )
            shared = {"even_divisible": True, "shuffle": True, "seed": seed, "drop_last": True}
            order = {"sampler": DistributedSampler(dataset, **shared)}
        size = min(size, multiple_of * max(1, len(dataset) // ranks // multiple_of))
        if size < least:
            raise InputError(
                f"a batch of {size} of {len(dataset)} training items for each of {ranks} processes is too small, the "
                f"batch norms need {least}: add nodules, raise the batch size or run fewer processes"
            )
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
    """This rank's part of a batch that counts all ranks; of a single process, the largest multiple in it, at least one.

    Raises:
        InputError: several ranks cannot take equal parts of it.
    """
    ranks = idist.get_world_size()
    require_equal_parts(batch_size, processes=ranks, multiple_of=multiple_of)
    return multiple_of * max(1, batch_size // ranks // multiple_of)


def require_equal_parts(
    batch_size: int, *, processes: int, multiple_of: int = 1, name: str = "a batch size of"
) -> None:
    """Refuse a batch that several processes cannot take equal parts of: another batch would be another recipe.

    Args:
        batch_size: number of items of all processes together.
        processes: number of processes; a single one takes any batch.
        multiple_of: number that each process's part is a multiple of.
        name: words before the number, for the message.

    Raises:
        InputError: one line with the nearest batch sizes that fit.
    """
    whole = processes * multiple_of
    if processes == 1 or batch_size % whole == 0:
        return
    below = batch_size // whole * whole
    fitting = f"{below} or {below + whole}" if below else f"{whole}"
    parts = f"equal parts that are multiples of {multiple_of}" if multiple_of > 1 else "equal parts"
    raise InputError(f"{name} {batch_size} does not divide into {parts} for {processes} processes: choose {fitting}")


class RankSampler(Sampler[int]):
    """Every item once over all ranks, in the dataset's order: rank r of n takes items r, r + n, r + 2n, ...

    MONAI's ``DistributedSampler(even_divisible=False)`` refuses fewer items than ranks; here a rank without a share
    repeats item 0 (it must take part in gathering). The evaluation's files drop it again; the metric by which a
    training on more ranks than validation nodules chooses its epoch counts it as often.

    Args:
        dataset: anything with a length.
    """

    def __init__(self, dataset: Sized) -> None:
        self.indices = list(range(len(dataset)))[idist.get_rank() :: idist.get_world_size()] or [0]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
