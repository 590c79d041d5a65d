"""Augmentation of MT-CNN's nine planes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform


class RandAugmentViews(Randomizable, Transform):
    """Shift, turn and flip every view on its own (MT-CNN, section III-D).

    The paper keeps each image and adds four augmented copies; here a view is augmented with probability 4/5 whenever
    it is drawn. An augmented view is shifted by up to 6 whole pixels along either axis (its edge repeated), and, each
    with probability 1/2, turned by 90, 180 or 270 degrees and flipped along one of its axes.

    Args:
        prob: probability that a view is augmented.
        shift: largest shift in pixels.
        positives_only: whether to leave the views of class 0 as they are (LUNA16's candidates in the paper).
    """

    def __init__(self, *, prob: float = 0.8, shift: int = 6, positives_only: bool = False) -> None:
        self.prob = prob
        self.shift = shift
        self.positives_only = positives_only

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes and gives ``image`` ``[V, H, W]`` with H = W; looks at ``target`` where only positives change."""
        if self.positives_only and float(data["target"]) < 0.5:
            return dict(data)
        views = np.asarray(data["image"])
        return {**data, "image": torch.from_numpy(np.stack([self._augment(view) for view in views]))}

    def _augment(self, view: np.ndarray) -> np.ndarray:
        augmented, turned, flipped = self.R.random_sample(3) < (self.prob, 0.5, 0.5)
        rows, columns = self.R.randint(-self.shift, self.shift + 1, size=2)
        quarters, axis = self.R.randint(1, 4), self.R.randint(2)
        if not augmented:
            return view
        view = shift_view(view, rows, columns)
        view = np.rot90(view, quarters) if turned else view
        return np.flip(view, axis) if flipped else view


def shift_view(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Move ``[H, W]`` by whole pixels down and to the right, with its edge repeated."""
    height, width = image.shape
    row = np.clip(np.arange(height) - rows, 0, height - 1)
    column = np.clip(np.arange(width) - columns, 0, width - 1)
    return image[row[:, None], column]
