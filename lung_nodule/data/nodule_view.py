"""From a nodule's arrays to a network's input: every method's view as one transform."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lung_nodule.core import NoduleView, Patch, floats
from lung_nodule.data.attributes import binary_attributes
from lung_nodule.errors import InputError
from monai.transforms import Transform

SLICES = ("patch", "mask")


class ViewNodule(Transform):
    """Apply a method's view to a nodule, for validation, evaluation and inference.

    Takes what :class:`~lung_nodule.data.LoadVOI` gives and the columns that the view needs. Adds

    * ``image``: float32 in 0..1, channel first. The slices of a slice-wise view are the last axis, ``[C, H, W, S]``,
      those of its mirrored copies included. Another view that makes copies gives ``[copies, C, ...]``, and ``copies``.
    * ``patch``: where it lies in the VOI, which :class:`~lung_nodule.training.Aggregate` needs.
    * the class, under the name ``target``: float32 ``[1]``, NaN without one.
    * ``label``: float32 ``[1, H, W, S]``, 0/1 unless soft, of a view that segments where a mask was loaded; and
      ``inside``, likewise, of a view that extends beyond the VOI: 1 where the VOI is.
    * ``highs``: float32 ``[7]``, whether readers called an attribute high, NaN without a rating.

    Args:
        view: view of the method.
        slices: slices of a slice-wise view: ``"patch"``, or ``"mask"`` for the slices of the true mask only, as in the
            papers (an evaluation of the network, not of what a user gets: inference has no mask).
        label: key of the item that holds the class, 1.0, 0.0 or NaN.
        target: name under which the class is added.
        soft_label: whether ``label`` is the mask interpolated at each voxel's centre, in 0..1, instead of 0/1 at one
            half: a boundary within a voxel is then trained where it is.

    Raises:
        InputError: ``slices`` is neither, or a nodule cannot be sampled.
    """

    def __init__(
        self,
        view: NoduleView,
        *,
        slices: str = "patch",
        label: str = "malignant",
        target: str = "malignancy",
        soft_label: bool = False,
    ) -> None:
        if slices not in SLICES:
            raise InputError(f"slices must be 'patch' or 'mask', got {slices!r}")
        self.view = view
        self.slices = slices
        self.label = label
        self.target = target
        self.soft_label = soft_label

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = _slices_of_mask(data) if self.slices == "mask" else dict(data)
        patch = patch_of(self.view, data)
        if self.slices == "mask" and "diameter_mm" in self.view.needs:
            patch = replace(patch, z_patch_mm=np.inf)  # the declared diameter does not bound the mask's slices
        images = self.view.batch(data["ct"], patch)
        if self.view.slicewise:
            data["image"] = _as_tensor(np.moveaxis(images, 0, 3))
        elif self.view.flips:
            data.update(image=_as_tensor(images), copies=len(images))
        else:
            data["image"] = _as_tensor(images[0])
        data["patch"] = patch
        data[self.target] = torch.tensor([data[self.label]], dtype=torch.float32)
        data["highs"] = torch.from_numpy(binary_attributes(data))
        if self.view.segments and "mask" in data:
            covered = patch.sample(data["mask"])
            data["label"] = _as_map(covered if self.soft_label else covered >= 0.5)
        if patch.inside is not None:
            data["inside"] = _as_map(patch.inside)
        return data


def patch_of(view: NoduleView, data: Mapping[Any, Any]) -> Patch:
    """The patch that a view samples from an item's VOI.

    Raises:
        InputError: the view needs a diameter, and the nodule has none; the message names it.
    """
    try:
        return view.patch(data["ct"].shape, floats(data["spacing"]), floats(data["center"]), data.get("diameter_mm"))
    except ValueError as error:
        raise unfit(data, error) from error


def unfit(data: Mapping[Any, Any], error: ValueError) -> InputError:
    """The error of a view that refuses a nodule, with its name and what to do."""
    return InputError(f"{data['nodule_id']}: {error}; correct `diameter_mm` in the table of nodules")


def _slices_of_mask(data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """The VOI cut along z to the slices of its mask."""
    marked = np.flatnonzero(data["mask"].any(axis=(0, 1)))
    if not len(marked):
        return dict(data)
    box = slice(marked[0], marked[-1] + 1)
    center = np.array(data["center"])
    center[2] = np.clip(center[2] - marked[0], 0, marked[-1] - marked[0])
    return {**data, "ct": data["ct"][:, :, box], "mask": data["mask"][:, :, box], "center": center}


def _as_map(stack: np.ndarray) -> torch.Tensor:
    """``[S, H, W]`` of bool or 0..1 -> float32 ``[1, H, W, S]``."""
    return _as_tensor(np.moveaxis(stack.astype(np.float32), 0, 2)[None])


def _as_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
