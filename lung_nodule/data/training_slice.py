"""One random slice of a nodule, for training the slice-wise methods."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from lung_nodule.core import SlicePatch, SlicesView, SquareView
from lung_nodule.data.attributes import scaled_attributes
from lung_nodule.data.nodule_view import patch_of
from lung_nodule.errors import InputError
from lung_nodule.lidc import CHARACTERISTICS, HIGHEST_RATING
from monai.transforms import Randomizable, Transform

MALIGNANCY_RANGE = HIGHEST_RATING[CHARACTERISTICS[-1]] - 1


class RandNoduleSlice(Randomizable, Transform):
    """Cut a VOI to one random slice of the nodule's mask (training).

    With ``part`` and ``parts`` in the item, the slice is drawn from that part of the mask's slices, so that the draws
    of one epoch spread over the nodule. Where the mask is empty, any slice is drawn.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes ``ct``, ``mask`` ``[X, Y, Z]`` and ``center`` ``[3]``; gives ``[X, Y, 1]`` and ``(x, y, 0)``."""
        z = self._draw(data)
        one, center = slice(z, z + 1), np.array([*data["center"][:2], 0.0], dtype=np.float32)
        return {**data, "ct": data["ct"][:, :, one], "mask": data["mask"][:, :, one], "center": center}

    def _draw(self, data: Mapping[Hashable, Any]) -> int:
        """A z index of the VOI: of the mask's slices, or of all where the mask is empty."""
        marked = np.flatnonzero(data["mask"].any(axis=(0, 1)))
        candidates = marked if len(marked) else np.arange(data["ct"].shape[2])
        part, parts = data.get("part", 0), data.get("parts", 1)
        pieces = np.array_split(candidates, parts)
        piece = pieces[part] if len(pieces[part]) else candidates
        return int(piece[self.R.randint(len(piece))])


class ViewSlice(Transform):
    """A VOI of one slice through MT-Net's view (training).

    Gives ``nodule_id``, ``image`` and ``label``, float32 ``[1, H, W]``, and ``malignancy``, float32 ``[1]``.

    Args:
        view: view of the method.
    """

    def __init__(self, view: SlicesView) -> None:
        self.view = view

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes ``ct``, ``mask`` ``[X, Y, 1]`` and ``center`` ``(x, y, 0)``, as :class:`RandNoduleSlice` gives them."""
        patch = cast(SlicePatch, patch_of(self.view, data))
        return {
            "nodule_id": data["nodule_id"],
            "image": torch.from_numpy(self.view.images(data["ct"], patch)[0]),
            "label": torch.from_numpy((patch.sample(data["mask"]) >= 0.5).astype(np.float32)),
            "malignancy": torch.tensor([data["malignant"]], dtype=torch.float32),
        }


class RandSquarePart(Randomizable, Transform):
    """A VOI of one slice in a random part of MTMR-Net's square (training).

    The part is a square of 70-100 % of the area anywhere inside, sampled from the CT once: the paper's random crop
    without a second interpolation, and without stretching.

    Gives ``nodule_id``, ``image`` (float32 ``[1, H, W]`` in 0..1) and the targets, float32: ``malignancy`` (1 or 0),
    ``score`` (the readers' mean on 0..1) and ``attributes`` ``[8]`` on 0..1.

    Args:
        view: view of the method.
        scale: smallest and largest share of the square's area.

    Raises:
        InputError: ``scale`` is invalid; a nodule has no diameter.
    """

    def __init__(self, view: SquareView, *, scale: tuple[float, float] = (0.7, 1.0)) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise InputError(f"scale must be two shares of the area, 0 < smallest <= largest <= 1, got {list(scale)}")
        self.view = view
        self.smallest, self.largest = scale

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes what ``RandNoduleSlice`` gives: ``ct`` ``[X, Y, 1]`` and ``center`` ``(x, y, 0)``."""
        square = cast(SlicePatch, patch_of(self.view, data))
        edge, shift = self._part(self.view.square.edge_mm(data["diameter_mm"]))
        x, y = (data["center"][:2] + shift / data["spacing"][:2]).tolist()
        part = replace(square, patch_mm=float(edge), center=(x, y, 0.0))
        return {
            "nodule_id": data["nodule_id"],
            "image": torch.from_numpy(self.view.images(data["ct"], part)[0]),
            "malignancy": torch.tensor(data["malignant"], dtype=torch.float32),
            "score": torch.tensor((data["malignancy_mean"] - 1) / MALIGNANCY_RANGE, dtype=torch.float32),
            "attributes": torch.from_numpy(scaled_attributes(data)),
        }

    def _part(self, edge_mm: float) -> tuple[float, np.ndarray]:
        """Edge of the random part in mm, and the shift of its centre along x and y."""
        part_mm = edge_mm * np.sqrt(self.R.uniform(self.smallest, self.largest))
        slack = (edge_mm - part_mm) / 2
        return part_mm, self.R.uniform(-slack, slack, size=2)
