"""The training set of the methods that draw a nodule several times an epoch, and the collation of one nodule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from lung_nodule.data.plain_tensors import plain_tensors
from lung_nodule.errors import InputError
from monai.transforms import apply_transform
from torch.utils.data import Dataset


class NoduleSlices(Dataset):
    """A few random draws of every nodule and epoch (a slice, nine views), so that none outweighs another.

    Args:
        data: loaded nodules, e.g. a ``monai.data.CacheDataset`` whose transform is
            :class:`~lung_nodule.data.LoadVOI`.
        slices_per_nodule: items of one nodule per epoch, one number for all or one for each; a slice comes from each
            item's own part of the nodule.
        transform: the random transforms, from the nodule's arrays to what the network sees; MONAI's run without
            metadata (:func:`~lung_nodule.data.plain_tensors.plain_tensors`).

    Raises:
        InputError: ``slices_per_nodule`` is below 1, or not one per nodule.
    """

    def __init__(
        self, data: Sequence[dict[str, Any]], *, slices_per_nodule: int | Sequence[int], transform: Callable[[Any], Any]
    ) -> None:
        single = isinstance(slices_per_nodule, int)
        parts = np.full(len(data), slices_per_nodule) if single else np.asarray(slices_per_nodule, dtype=int)
        if parts.shape != (len(data),) or (len(parts) and parts.min() < 1) or (single and slices_per_nodule < 1):
            least = slices_per_nodule if single else f"{len(parts)} numbers for {len(data)} nodules"
            raise InputError(f"slices_per_nodule must be at least 1 for every nodule, got {least}")
        self.data = data
        self.parts = parts
        self.stops = np.cumsum(parts)
        self.transform = transform

    def __len__(self) -> int:
        return int(self.parts.sum())

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{index} of {len(self)} draws")
        index %= len(self)
        nodule = int(np.searchsorted(self.stops, index, side="right"))
        part, parts = index - int(self.stops[nodule] - self.parts[nodule]), int(self.parts[nodule])
        item = {**self.data[nodule], "part": part, "parts": parts}
        with plain_tensors():
            return cast(dict[str, Any], apply_transform(self.transform, item))


def one_nodule(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collate a batch of one nodule: its slices are the work of an iteration, and nodules differ in their number.

    ``image`` and ``label`` gain the batch axis (the image of a view that makes ``copies`` has one); everything else
    stays as it is.

    Raises:
        ValueError: more than one nodule.
    """
    if len(items) != 1:
        raise ValueError(f"nodules differ in their number of slices: load them with batch_size 1, got {len(items)}")
    item = dict(items[0])
    single = ("label",) if "copies" in item else ("image", "label")
    return {**item, **{key: torch.as_tensor(item[key])[None] for key in single if key in item}}
