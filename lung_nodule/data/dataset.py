"""The training set of the methods that draw a nodule several times an epoch, and how one nodule makes a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lung_nodule.io import InputError
from monai.transforms import apply_transform
from torch.utils.data import Dataset


class NoduleSlices(Dataset):
    """A few random draws of every nodule and epoch (a slice, nine views), so that none outweighs another.

    Args:
        data: loaded nodules, e.g. a ``monai.data.CacheDataset`` whose transform is
            :class:`~lung_nodule.data.LoadVOI`.
        slices_per_nodule: items of one nodule per epoch; a slice comes from each item's own part of the nodule.
        transform: the random transforms, from the nodule's arrays to what the network sees.

    Raises:
        InputError: ``slices_per_nodule`` is below 1.
    """

    def __init__(
        self, data: Sequence[dict[str, Any]], *, slices_per_nodule: int, transform: Callable[[Any], Any]
    ) -> None:
        if slices_per_nodule < 1:
            raise InputError(f"slices_per_nodule must be at least 1, got {slices_per_nodule}")
        self.data = data
        self.slices_per_nodule = slices_per_nodule
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data) * self.slices_per_nodule

    def __getitem__(self, index: int) -> dict[str, Any]:
        nodule, part = divmod(index, self.slices_per_nodule)
        item = {**self.data[nodule], "part": part, "parts": self.slices_per_nodule}
        return apply_transform(self.transform, item)


def one_nodule(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collate a batch of one nodule: its slices are the work of an iteration, and nodules differ in their number.

    ``image`` and ``label`` gain the batch axis; everything else stays as it is.

    Raises:
        ValueError: more than one nodule.
    """
    if len(items) != 1:
        raise ValueError(f"nodules differ in their number of slices: load them with batch_size 1, got {len(items)}")
    item = dict(items[0])
    return {**item, **{key: torch.as_tensor(item[key])[None] for key in ("image", "label") if key in item}}
