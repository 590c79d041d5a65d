"""A few fixed tightnesses of every nodule's crop, for methods whose input is costly to compute."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from typing import Any

from lung_nodule.data.crops import RandCropMargin, RandPadParenchyma
from lung_nodule.errors import InputError
from monai.transforms import Randomizable, Transform


class RandCropVariant(Randomizable, Transform):
    """One of a nodule's fixed crops, drawn again every epoch.

    :class:`~lung_nodule.data.RandCropMargin` and :class:`~lung_nodule.data.RandPadParenchyma` never make one crop
    twice, so nothing that is computed from its voxels could be kept. Here variant 0 is the whole VOI and every other
    one is cropped, then perhaps padded, as the nodule's identity and the variant's number say.

    Args:
        variants: how many a nodule has, the whole one included.
        margin_mm: what a tightened crop keeps around the nodule on every side.
        pad_parenchyma_prob: how often a tightened crop is grown again by parenchyma.

    Raises:
        InputError: ``variants`` is below 1.
    """

    def __init__(self, *, variants: int = 4, margin_mm: float = 6.0, pad_parenchyma_prob: float = 0.5) -> None:
        if variants < 1:
            raise InputError(f"crop_variants must be at least 1 (the whole VOI), got {variants}")
        self.variants = int(variants)
        self.margin_mm = margin_mm
        self.pad_parenchyma_prob = pad_parenchyma_prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes and gives ``nodule_id``, ``ct``, ``mask`` ``[X, Y, Z]`` and ``center`` ``[3]``."""
        return self.variant(data, int(self.R.randint(self.variants)))

    def variant(self, data: Mapping[Hashable, Any], number: int) -> dict[Hashable, Any]:
        """The crop of that number, the same whenever it is asked for."""
        if number == 0:
            return dict(data)
        digest = hashlib.sha256(f"{data['nodule_id']} {number}".encode()).digest()
        seeds = (int.from_bytes(digest[:4]), int.from_bytes(digest[4:8]))  # or what is cut would be what is added
        tighten = RandCropMargin(prob=1.0, margin_mm=self.margin_mm).set_random_state(seed=seeds[0])
        loosen = RandPadParenchyma(prob=self.pad_parenchyma_prob).set_random_state(seed=seeds[1])
        return loosen(tighten(data))
