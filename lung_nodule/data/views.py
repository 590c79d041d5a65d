"""From a VOI to the nine views of its cube, and their augmentation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from lung_nodule.core import CubePatch, nine_views, window
from lung_nodule.data.patches import checked_window, position_of
from lung_nodule.errors import InputError
from lung_nodule.lidc import NETWORK_WINDOW
from monai.transforms import Randomizable, Transform


class NineViews(Transform):
    """The nine views of the cube around a nodule's centre (MT-CNN, section III-A).

    The CT is resampled in HU, then windowed, as in the paper. Beyond the VOI its faces are repeated.

    Adds ``image`` (float32 ``[9, image_size, image_size]`` in 0..1, in the order of ``lung_nodule.core.VIEWS``) and
    ``target`` (float32 ``[1]``, the class).

    Args:
        patch_mm: edge of the cube in mm.
        image_size: voxels along that edge, so pixels along a view's.
        order: of the resampling, 3 (cubic spline, published) or 1 (linear).
        hu_window: HU that become 0 and 1.
        label: key of the item that holds the class, 1.0, 0.0 or NaN.

    Raises:
        InputError: ``order`` is neither, or ``hu_window`` no window.
    """

    needs: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        patch_mm: float,
        image_size: int,
        order: int = 3,
        hu_window: tuple[float, float] = NETWORK_WINDOW,
        label: str = "malignant",
    ) -> None:
        if order not in (1, 3):
            raise InputError(f"spline_order must be 3 (cubic) or 1 (linear), got {order!r}")
        self.patch_mm = float(patch_mm)
        self.image_size = int(image_size)
        self.order = order
        self.label = label
        self.hu_window = checked_window(hu_window)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        patch = CubePatch(**position_of(data), cube_mm=self.patch_mm, size=self.image_size, order=self.order)
        views = nine_views(window(patch.sample(data["ct"]), *self.hu_window))
        target = torch.tensor([data[self.label]], dtype=torch.float32)
        return {**data, "image": torch.from_numpy(views), "target": target}

    def reach_mm(self, data: Mapping[Hashable, Any]) -> float:
        """Edge of the cube, whatever the nodule."""
        return self.patch_mm


class RandAugmentViews(Randomizable, Transform):
    """Shift, turn and flip every view on its own (MT-CNN, section III-D).

    The paper keeps each image and adds four augmented copies; here a view is augmented with probability 4/5 whenever
    it is drawn. An augmented view is shifted by up to 6 whole pixels along either axis (its edge repeated), and, each
    with probability 1/2, turned by 90, 180 or 270 degrees and flipped along one of its axes.

    Args:
        prob: how often a view is augmented.
        shift: largest shift in pixels.
        positives_only: leave the views of class 0 as they are (LUNA16's candidates in the paper).
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
        view = shifted(view, rows, columns)
        view = np.rot90(view, quarters) if turned else view
        return np.flip(view, axis) if flipped else view


def shifted(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """``[H, W]`` moved by whole pixels down and to the right, its edge repeated."""
    height, width = image.shape
    row = np.clip(np.arange(height) - rows, 0, height - 1)
    column = np.clip(np.arange(width) - columns, 0, width - 1)
    return image[row[:, None], column]
