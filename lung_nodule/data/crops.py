"""Random tightness: the extent of a crop must tell a network nothing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.transforms import RandomizableTransform


class RandTightenCrop(RandomizableTransform):
    """Cut a VOI at random between its own faces and a margin around its mask.

    The tight crops of some datasets follow the nodule's size. Beyond a crop a field is edge-replicated, so a network
    could read the size off the replicated border; crops of random tightness take that clue away.

    Args:
        prob: how often a crop is tightened at all.
        margin_mm: what stays around the nodule on every side, where the VOI has it; without it the replicated border
            would itself outline the nodule.
    """

    def __init__(self, *, prob: float = 0.5, margin_mm: float = 6.0) -> None:
        super().__init__(prob)
        self.margin_mm = margin_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes and gives ``ct``, ``mask`` ``[X, Y, Z]`` and ``center`` ``[3]``; never cuts the nodule."""
        self.randomize(None)
        marked = np.argwhere(data["mask"])
        if not self._do_transform or not len(marked):
            return dict(data)
        margin = np.ceil(self.margin_mm / np.asarray(data["spacing"])).astype(int)
        first = np.maximum(marked.min(axis=0) - margin, 0)
        last = np.minimum(marked.max(axis=0) + margin, np.array(data["mask"].shape) - 1)
        low = np.array([self.R.randint(0, f + 1) for f in first])
        high = np.array([self.R.randint(f + 1, n + 1) for f, n in zip(last, data["mask"].shape, strict=True)])
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        center = np.clip(data["center"] - low, -0.5, high - low - 0.5).astype(np.float32)
        return {**data, "ct": data["ct"][box], "mask": data["mask"][box], "center": center}
