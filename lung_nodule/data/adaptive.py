"""MTMR-Net's view of a nodule: an adaptive square around the centre, sized by the declared diameter."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from lung_nodule.core import SQUARES, AdaptiveSquare
from lung_nodule.data.attributes import scaled_attributes
from lung_nodule.data.patches import checked_window
from lung_nodule.data.slices import PatchSlices, patch_of
from lung_nodule.errors import InputError
from lung_nodule.lidc import NETWORK_WINDOW
from monai.transforms import Randomizable, Transform

MALIGNANCY_RANGE = 4  # the readers rate 1-5


class AdaptiveSlices(PatchSlices):
    """The slices within half the declared diameter of the centre, in the adaptive square (inference).

    Takes ``diameter_mm`` beside what :class:`~lung_nodule.data.LoadVOI` gives. Adds ``image`` (float32
    ``[1, H, W, S]`` in 0..1), ``malignancy`` (float32 ``[1]``, the class, NaN without one) and ``patch``. Where the
    VOI is smaller than the square it is edge-replicated, never stretched.

    Args:
        crop: a name of :data:`lung_nodule.core.SQUARES`.
        image_size: pixels along the edge.
        hu_window: HU that become 0 and 1.
        slices: ``"patch"``, or ``"mask"`` for the paper's way, the slices of the true mask alone (an evaluation of the
            network, not of what a user gets: inference has no mask).

    Raises:
        InputError: ``crop`` or ``slices`` is none of those; a nodule without a diameter.
    """

    needs = ("diameter_mm",)

    def __init__(
        self,
        *,
        image_size: int,
        crop: str = "adaptive",
        hu_window: tuple[float, float] = NETWORK_WINDOW,
        slices: str = "patch",
    ) -> None:
        self.square = square_of(crop)
        super().__init__(patch_mm=self.square.minimum_mm, image_size=image_size, hu_window=hu_window, slices=slices)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        edge = edge_of(data, self.square) * self.square.central
        data = self._slices_of_mask(data) if self.slices == "mask" else dict(data)
        depth = np.inf if self.slices == "mask" else data["diameter_mm"]
        patch = patch_of(data, patch_mm=edge, image_size=self.options["image_size"], z_patch_mm=depth)
        stack = self.square.sample(data["ct"], patch, self.hu_window)
        data["image"] = torch.from_numpy(np.ascontiguousarray(np.moveaxis(stack, 0, 2))[None])
        data["malignancy"] = torch.tensor([data["malignant"]], dtype=torch.float32)
        data["patch"] = patch
        return data

    def reach_mm(self, data: Mapping[Hashable, Any]) -> float:
        """Edge of the cube that holds the nodule's square and the slices within its declared diameter."""
        return max(edge_of(data, self.square), float(data["diameter_mm"]))


class RandAdaptiveView(Randomizable, Transform):
    """A VOI of one slice in a random part of the adaptive square (training).

    The part is a square of 70-100 % of the area anywhere inside, sampled from the CT once: the paper's random crop
    without a second interpolation, and without stretching.

    Gives ``nodule_id``, ``image`` (float32 ``[1, H, W]`` in 0..1) and the targets, float32: ``malignancy`` (1 or 0),
    ``score`` (the readers' mean on 0..1) and ``attributes`` ``[8]`` on 0..1.

    Args:
        crop: a name of :data:`lung_nodule.core.SQUARES`.
        image_size: pixels along the edge.
        hu_window: HU that become 0 and 1.
        scale: smallest and largest share of the square's area.

    Raises:
        InputError: ``crop`` or ``scale`` is none of those; a nodule without a diameter.
    """

    def __init__(
        self,
        *,
        image_size: int,
        crop: str = "adaptive",
        hu_window: tuple[float, float] = NETWORK_WINDOW,
        scale: tuple[float, float] = (0.7, 1.0),
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise InputError(f"scale must be two shares of the area, 0 < smallest <= largest <= 1, got {list(scale)}")
        self.square = square_of(crop)
        self.scale = tuple(scale)
        self.image_size = image_size
        self.hu_window = checked_window(hu_window)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes what ``RandNoduleSlice`` gives: ``ct`` ``[X, Y, 1]`` and ``center`` ``(x, y, 0)``."""
        edge, shift = self._part(edge_of(data, self.square))
        center = np.append(data["center"][:2] + shift / data["spacing"][:2], 0.0)
        patch = patch_of({**data, "center": center}, patch_mm=edge, image_size=self.image_size)
        return {
            "nodule_id": data["nodule_id"],
            "image": torch.from_numpy(self.square.sample(data["ct"], patch, self.hu_window)),
            "malignancy": torch.tensor(data["malignant"], dtype=torch.float32),
            "score": torch.tensor((data["malignancy_mean"] - 1) / MALIGNANCY_RANGE, dtype=torch.float32),
            "attributes": torch.from_numpy(scaled_attributes(data)),
        }

    def _part(self, edge_mm: float) -> tuple[float, np.ndarray]:
        """Edge of the random part in mm, and by how much its centre is moved along x and y."""
        part_mm = edge_mm * np.sqrt(self.R.uniform(*self.scale))
        slack = (edge_mm - part_mm) / 2
        return part_mm, self.R.uniform(-slack, slack, size=2)


def square_of(crop: str) -> AdaptiveSquare:
    """The square of that name.

    Raises:
        InputError: there is none.
    """
    if crop not in SQUARES:
        raise InputError(f"crop must be one of {', '.join(SQUARES)}, got {crop!r}")
    return SQUARES[crop]


def edge_of(data: Mapping[Hashable, Any], square: AdaptiveSquare) -> float:
    """Edge of a nodule's square in mm.

    Raises:
        InputError: the nodule has no diameter.
    """
    try:
        return square.edge_mm(data["diameter_mm"])
    except ValueError as error:
        raise InputError(f"{data['nodule_id']}: {error}; correct `diameter_mm` in the table of nodules") from error
