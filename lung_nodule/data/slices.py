"""From a VOI to the slices of its fixed patch: all of them (inference) or a random one of the nodule's (training)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from lung_nodule.core import SlicePatch, window
from lung_nodule.data.patches import checked_window, position_of
from lung_nodule.errors import InputError
from lung_nodule.lidc import NETWORK_WINDOW
from monai.transforms import Randomizable, Transform


class PatchSlices(Transform):
    """All slices of the fixed patch, as a network sees them at inference.

    Adds ``image`` (float32 ``[1, H, W, S]`` in 0..1), ``label`` (where a mask was loaded, on the same grid),
    ``malignancy`` (float32 ``[1]``) and ``patch`` (the :class:`~lung_nodule.core.SlicePatch` that brings maps back to
    the VOI).

    Args:
        patch_mm: edge of the square patch in mm.
        image_size: pixels along that edge.
        z_patch_mm: extent along z in mm; as ``patch_mm`` when not given.
        hu_window: HU that become 0 and 1.
        slices: ``"patch"``, or ``"mask"`` for the paper's way, the slices of the true mask alone (an evaluation of the
            network, not of what a user gets: inference has no mask).

    Raises:
        InputError: ``slices`` is neither.
    """

    needs: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        patch_mm: float,
        image_size: int,
        z_patch_mm: float | None = None,
        hu_window: tuple[float, float] = NETWORK_WINDOW,
        slices: str = "patch",
    ) -> None:
        if slices not in ("patch", "mask"):
            raise InputError(f"slices must be 'patch' or 'mask', got {slices!r}")
        self.options = {"patch_mm": patch_mm, "image_size": image_size, "z_patch_mm": z_patch_mm}
        self.hu_window = checked_window(hu_window)
        self.slices = slices

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = self._slices_of_mask(data) if self.slices == "mask" else dict(data)
        patch = patch_of(data, **self.options)
        data["image"] = _as_volume(patch.sample(window(data["ct"], *self.hu_window)))
        if "mask" in data:
            data["label"] = _as_volume((patch.sample(data["mask"]) >= 0.5).astype(np.float32))
        data["malignancy"] = torch.tensor([data["malignant"]], dtype=torch.float32)
        data["patch"] = patch
        return data

    def reach_mm(self, data: Mapping[Hashable, Any]) -> float:
        """Edge of the cube around the centre that holds the patch, whatever the nodule."""
        z_patch_mm = self.options["z_patch_mm"]
        return max(self.options["patch_mm"], self.options["patch_mm"] if z_patch_mm is None else z_patch_mm)

    @staticmethod
    def _slices_of_mask(data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The VOI cut along z to the slices of its mask."""
        marked = np.flatnonzero(data["mask"].any(axis=(0, 1)))
        if not len(marked):
            return dict(data)
        box = slice(marked[0], marked[-1] + 1)
        center = np.array(data["center"])
        center[2] = np.clip(center[2] - marked[0], 0, marked[-1] - marked[0])
        return {**data, "ct": data["ct"][:, :, box], "mask": data["mask"][:, :, box], "center": center}


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


class SliceView(Transform):
    """A VOI of one slice in the fixed patch around its centre, as a network sees it in training.

    Gives ``nodule_id``, ``image`` and ``label``, float32 ``[1, H, W]``, and ``malignancy``, float32 ``[1]``.

    Args:
        patch_mm: edge of the square patch in mm.
        image_size: pixels along that edge.
        hu_window: HU that become 0 and 1.
    """

    def __init__(self, *, patch_mm: float, image_size: int, hu_window: tuple[float, float] = NETWORK_WINDOW) -> None:
        self.options = {"patch_mm": patch_mm, "image_size": image_size}
        self.hu_window = checked_window(hu_window)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes ``ct``, ``mask`` ``[X, Y, 1]`` and ``center`` ``(x, y, 0)``, as :class:`RandNoduleSlice` gives them."""
        patch = patch_of(data, **self.options)
        return {
            "nodule_id": data["nodule_id"],
            "image": torch.from_numpy(patch.sample(window(data["ct"], *self.hu_window))),
            "label": torch.from_numpy((patch.sample(data["mask"]) >= 0.5).astype(np.float32)),
            "malignancy": torch.tensor([data["malignant"]], dtype=torch.float32),
        }


def patch_of(
    data: Mapping[Hashable, Any], *, patch_mm: float, image_size: int, z_patch_mm: float | None = None
) -> SlicePatch:
    """The fixed patch of an item with ``ct``, ``spacing`` and ``center``."""
    return SlicePatch(
        **position_of(data),
        patch_mm=float(patch_mm),
        image_size=int(image_size),
        z_patch_mm=None if z_patch_mm is None else float(z_patch_mm),
    )


def _as_volume(stack: np.ndarray) -> torch.Tensor:
    """``[S, H, W]`` -> channel-first ``[1, H, W, S]``."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(stack, 0, 2))[None])
