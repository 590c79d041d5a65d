"""Crops of a VOI, random in training so that a network cannot read the nodule's size from a crop's extent."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from lung_nodule.errors import InputError
from lung_nodule.lidc import AIR_BELOW_HU
from monai.transforms import Randomizable, RandomizableTransform, Transform
from scipy.ndimage import gaussian_filter

USUAL_LUNG_HU = (-850.0, 60.0)  # mean and standard deviation, where a VOI shows too little lung to measure them


class RandCropMargin(RandomizableTransform):
    """Cut a VOI at random between its own faces and a margin around its mask.

    The tight crops of some datasets follow the nodule's size. Beyond a crop a patch is edge-replicated, so a network
    could read the size off the replicated border; crops with random margins remove that cue.

    Args:
        prob: probability that a VOI is cut.
        margin_mm: width in mm kept around the nodule on every side, where the VOI has it; without it the replicated
            border would itself outline the nodule.
    """

    def __init__(self, *, prob: float = 0.5, margin_mm: float = 6.0) -> None:
        super().__init__(prob)
        self.margin_mm = margin_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes and gives ``ct``, ``mask`` ``[X, Y, Z]`` and ``center`` ``[3]``; never cuts the nodule."""
        self.randomize(None)
        if not self._do_transform or not np.any(data["mask"]):
            return dict(data)
        first, stop = _box_around_mask(data, self.margin_mm)
        low = np.array([self.R.randint(0, f + 1) for f in first])
        high = np.array([self.R.randint(s, n + 1) for s, n in zip(stop, data["mask"].shape, strict=True)])
        return _cut(data, low, high)


class RandPadParenchyma(RandomizableTransform):
    """Pad a VOI at random with parenchyma beyond its faces.

    A cube around a tight crop of a small nodule is mostly replicated border, that of a large one is not: the share that
    was scanned reveals the size, and a whole scan then looks like the largest of nodules. Cutting cannot remove that
    cue, since the nodule must stay; padding can. The padding is noise with the mean, the standard deviation and roughly
    the grain of the lung in the VOI itself: no vessels, no walls.

    Args:
        prob: probability that a VOI is padded.
        reach_mm: largest padding on each side, one number or one per axis (a slice is padded only in its plane).
    """

    def __init__(self, *, prob: float = 0.5, reach_mm: float | Sequence[float] = 24.0) -> None:
        super().__init__(prob)
        self.reach_mm = reach_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes and gives ``ct`` (HU), ``mask`` ``[X, Y, Z]`` and ``center`` ``[3]``; what was scanned is kept."""
        self.randomize(None)
        if not self._do_transform:
            return dict(data)
        most = np.ceil(np.asarray(self.reach_mm) / np.asarray(data["spacing"])).astype(int)
        added = np.array([[self.R.randint(n + 1), self.R.randint(n + 1)] for n in most])
        shape = np.array(data["ct"].shape) + added.sum(axis=1)
        scanned = tuple(slice(before, before + n) for (before, _), n in zip(added, data["ct"].shape, strict=True))
        ct, mask = self._parenchyma(data, shape), np.zeros(shape, dtype=data["mask"].dtype)
        ct[scanned], mask[scanned] = data["ct"], data["mask"]
        return {**data, "ct": ct, "mask": mask, "center": (data["center"] + added[:, 0]).astype(np.float32)}

    def _parenchyma(self, data: Mapping[Hashable, Any], shape: np.ndarray) -> np.ndarray:
        """int16 noise like the VOI's own lung."""
        lung = data["ct"][(data["ct"] < AIR_BELOW_HU) & (data["mask"] == 0)]
        mean, deviation = (lung.mean(), lung.std()) if lung.size >= 100 else USUAL_LUNG_HU
        grain = gaussian_filter(self.R.standard_normal(shape).astype(np.float32), (1.0, 1.0, 0.0))
        return np.rint(mean + deviation * grain / grain.std()).clip(-1024, 3071).astype(data["ct"].dtype)


class RandCropVariant(Randomizable, Transform):
    """One of a nodule's fixed crops, drawn again every epoch.

    :class:`~lung_nodule.data.RandCropMargin` and :class:`~lung_nodule.data.RandPadParenchyma` never make the same crop
    twice, so nothing that is computed from its voxels could be cached. Here variant 0 is the whole VOI and every other
    one is cropped, then perhaps padded, and its centre moved, as the nodule's identity and the variant's number
    determine. A dataset's centre is that of the readers' mask; a user's or a detector's is some mm off.

    Args:
        variants: number of variants of a nodule, including the whole VOI.
        margin_mm: width in mm that a crop keeps around the nodule on every side.
        pad_parenchyma_prob: probability that a crop is then padded with parenchyma.
        center_shift_mm: the centre is moved by up to so many mm along every axis, within the VOI.

    Raises:
        InputError: ``variants`` is below 1.
    """

    def __init__(
        self,
        *,
        variants: int = 4,
        margin_mm: float = 6.0,
        pad_parenchyma_prob: float = 0.5,
        center_shift_mm: float = 0.0,
    ) -> None:
        if variants < 1:
            raise InputError(f"crop_variants must be at least 1 (the whole VOI), got {variants}")
        self.variants = int(variants)
        self.margin_mm = margin_mm
        self.pad_parenchyma_prob = pad_parenchyma_prob
        self.center_shift_mm = center_shift_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes and gives ``nodule_id``, ``ct``, ``mask`` ``[X, Y, Z]`` and ``center`` ``[3]``."""
        return self.variant(data, int(self.R.randint(self.variants)))

    def variant(self, data: Mapping[Hashable, Any], number: int) -> dict[Hashable, Any]:
        """The crop of that number, the same whenever it is asked for."""
        if number == 0:
            return dict(data)
        digest = hashlib.sha256(f"{data['nodule_id']} {number}".encode()).digest()
        # With one seed, padding would follow cutting.
        seeds = (int.from_bytes(digest[:4]), int.from_bytes(digest[4:8]), int.from_bytes(digest[8:12]))
        crop = RandCropMargin(prob=1.0, margin_mm=self.margin_mm)
        crop.set_random_state(seed=seeds[0])
        pad = RandPadParenchyma(prob=self.pad_parenchyma_prob)
        pad.set_random_state(seed=seeds[1])
        return self._shifted(pad(crop(data)), np.random.RandomState(seeds[2]))

    def _shifted(self, data: dict[Hashable, Any], random: np.random.RandomState) -> dict[Hashable, Any]:
        if not self.center_shift_mm:
            return data
        return _moved(data, random.uniform(-self.center_shift_mm, self.center_shift_mm, 3))


class CropMargin(Transform):
    """Cut a VOI to a margin around its mask, to measure how a prediction changes with less context.

    For evaluations only; inference never cuts by a mask.

    Args:
        margin_mm: width in mm kept around the nodule on every side, where the VOI has it; None cuts nothing.
    """

    def __init__(self, margin_mm: float | None = None) -> None:
        self.margin_mm = margin_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes and gives ``ct``, ``mask`` ``[X, Y, Z]`` and ``center`` ``[3]``."""
        if self.margin_mm is None or not np.any(data["mask"]):
            return dict(data)
        return _cut(data, *_box_around_mask(data, self.margin_mm))


class MoveCenter(Transform):
    """Move a nodule's centre, to measure how a prediction changes with a click or a detection that is off.

    For evaluations only. The direction is uniform on the sphere and fixed by the nodule's identity.

    Args:
        distance_mm: how far in mm; the centre stays within the VOI.
    """

    def __init__(self, distance_mm: float = 0.0) -> None:
        self.distance_mm = distance_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes and gives ``nodule_id``, ``ct`` ``[X, Y, Z]``, ``spacing`` (mm) and ``center`` ``[3]``."""
        digest = hashlib.sha256(f"{data['nodule_id']}".encode()).digest()
        direction = np.random.RandomState(int.from_bytes(digest[:4])).standard_normal(3)
        return _moved(data, self.distance_mm * direction / np.linalg.norm(direction))


def _moved(data: Mapping[Hashable, Any], shift_mm: np.ndarray) -> dict[Hashable, Any]:
    """The same nodule with another centre, within the VOI."""
    center = np.asarray(data["center"]) + shift_mm / np.asarray(data["spacing"])
    return {**data, "center": np.clip(center, -0.5, np.array(data["ct"].shape) - 0.5).astype(np.float32)}


def _box_around_mask(data: Mapping[Hashable, Any], margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """First index and stop, int ``[3]`` each, of the mask with a margin, within the VOI."""
    marked = np.argwhere(data["mask"])
    margin = np.ceil(margin_mm / np.asarray(data["spacing"])).astype(int)
    first = np.maximum(marked.min(axis=0) - margin, 0)
    return first, np.minimum(marked.max(axis=0) + margin + 1, np.array(data["mask"].shape))


def _cut(data: Mapping[Hashable, Any], low: np.ndarray, high: np.ndarray) -> dict[Hashable, Any]:
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    center = np.clip(data["center"] - low, -0.5, high - low - 0.5).astype(np.float32)
    return {**data, "ct": data["ct"][box], "mask": data["mask"][box], "center": center}
