"""MT-Net's view: every slice of a fixed patch around the nodule's centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...lidc import NETWORK_WINDOW
from ..components import MASK_THRESHOLD, central_component, cut_at_half
from ..intensity import checked_window, window
from ..slice_patch import SlicePatch
from .base import NoduleView, Shape, Vector
from .prediction import Prediction
from .readout import Readout


@dataclass(frozen=True)
class SlicesView(NoduleView):
    """The axial slices of a fixed patch, each one image ``[1, H, W]`` (H along x, W along y).

    Args:
        patch_mm: edge of the square patch in mm.
        image_size: pixels along that edge.
        z_patch_mm: extent along z in mm; as ``patch_mm`` when not given.
        hu_window: HU that become 0 and 1.
        readout: joins the score with measurements of the mask.
        flips: whether a prediction is the mean over the images and their mirrored copies.
        mask_threshold: probability from which the network's own map is the nodule.

    Raises:
        InputError: ``hu_window`` is not a window.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.core import SlicesView
        >>> view = SlicesView(patch_mm=32.0, image_size=64)
        >>> prepared = view.prepare(np.full((40, 40, 20), -800.0), spacing=(1, 1, 2), center=(20, 20, 10))
        >>> prepared.images.shape
        (17, 1, 64, 64)
        >>> maps = np.full((17, 64, 64), 0.9)
        >>> outputs = {"coarse": maps, "fine": maps, "malignancy": np.full(17, 0.7)}
        >>> round(view.aggregate(outputs, prepared.patch).score, 6)
        0.7
    """

    patch_mm: float
    image_size: int
    z_patch_mm: float | None = None
    hu_window: tuple[float, float] = NETWORK_WINDOW
    readout: Readout | None = None
    flips: bool = False
    mask_threshold: float = MASK_THRESHOLD

    slicewise = True
    segments = True

    def __post_init__(self) -> None:
        checked_window(self.hu_window)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> SlicesView:
        """From ``patch`` (``patch_mm``, ``image_size``, ``z_patch_mm``) and ``window``."""
        patch = settings["patch"]
        z_patch_mm = patch.get("z_patch_mm")
        return cls(
            patch_mm=float(patch["patch_mm"]),
            image_size=int(patch["image_size"]),
            z_patch_mm=None if z_patch_mm is None else float(z_patch_mm),
            hu_window=checked_window(settings["window"]),
            readout=Readout.from_settings(settings.get("readout")),
            flips=bool(settings.get("flips", False)),
            mask_threshold=float(settings.get("mask_threshold", MASK_THRESHOLD)),
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Grey, x, y."""
        return 1, self.image_size, self.image_size

    @property
    def channels(self) -> tuple[str, ...]:
        """The two maps and the score of a slice."""
        return "coarse", "fine", "malignancy"

    def reach_mm(self, diameter: float | None = None) -> float:
        """Edge of the cube that holds the patch, the same for every nodule."""
        return max(self.patch_mm, self.z_extent_mm)

    @property
    def z_extent_mm(self) -> float:
        """Extent of the patch along z."""
        return self.patch_mm if self.z_patch_mm is None else self.z_patch_mm

    def patch(self, shape: Shape, spacing: Vector, center: Vector, diameter: float | None = None) -> SlicePatch:
        """The fixed patch, the same for every nodule."""
        return SlicePatch(shape, spacing, center, float(self.patch_mm), int(self.image_size), self.z_patch_mm)

    def images(self, ct: np.ndarray, patch: SlicePatch) -> np.ndarray:
        """The HU are windowed, then sampled linearly: float32 ``[S, 1, H, W]``."""
        return patch.sample(window(ct, *self.hu_window))[:, None]

    def aggregate(self, outputs: Mapping[str, np.ndarray], patch: SlicePatch) -> Prediction:
        """The maps, the fine one cut at 0.5; the score is the slices' mean, weighted by :func:`slice_weights`.

        Args:
            outputs: ``coarse`` and, where they are asked for, ``fine``, ``[S, H, W]``, and ``malignancy``, ``[S]``
                or ``[S, H, W]`` with one value over a whole slice.
            patch: patch of the slices.
        """
        maps = {name: outputs[name] for name in ("coarse", "fine") if name in outputs}
        if "fine" in maps:
            maps["fine"] = cut_at_half(maps["fine"], self.mask_threshold)
        if "malignancy" not in outputs:
            return Prediction(patch, maps=maps)
        scores = outputs["malignancy"].reshape(len(maps["coarse"]), -1)[:, 0]
        return Prediction(patch, nodule_score(scores, slice_weights(maps["coarse"], patch)), maps)

    def describe(self) -> dict[str, Any]:
        """The patch and the window."""
        return {
            "image_size": self.image_size,
            "window": list(self.hu_window),
            "patch_mm": self.patch_mm,
            "z_patch_mm": self.z_extent_mm,
        }


def slice_weights(coarse: np.ndarray, patch: SlicePatch) -> np.ndarray:
    """The weight of each slice of the patch: its share of the coarse mask.

    The coarse mask is the coarse probability at 0.5, restricted to the component at the nodule's centre. Where it is
    empty only the central slice counts. (MT-Net scores slices of the true mask, which inference does not have.)

    Args:
        coarse: ``[S, H, W]`` coarse probability.
        patch: patch of the slices.

    Returns:
        float32 ``[S]`` with sum 1.
    """
    mask = central_component(coarse >= MASK_THRESHOLD, patch.central_pixel, patch.pixel_spacing)
    area = mask.sum(axis=(1, 2)).astype(np.float32)
    if not area.any():
        area[patch.central] = 1.0
    return area / area.sum()


def nodule_score(slice_scores: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean of the slices' scores.

    Args:
        slice_scores: ``[S]`` probabilities.
        weights: ``[S]`` with sum 1, as :func:`slice_weights` gives them.

    Raises:
        ValueError: the two differ in length.
    """
    scores, weights = np.asarray(slice_scores, dtype=np.float64).ravel(), np.asarray(weights, dtype=np.float64).ravel()
    if scores.shape != weights.shape:
        raise ValueError(f"{scores.size} slice scores do not fit {weights.size} slice weights")
    return float(scores @ weights)
