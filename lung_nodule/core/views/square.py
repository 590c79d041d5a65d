"""MTMR-Net's view: a square that grows with the declared diameter of a nodule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...errors import InputError
from ...lidc import ATTRIBUTES, HIGHEST_RATING, NETWORK_WINDOW
from ..intensity import checked_window, window
from ..ratings import original_scale
from ..slice_patch import SlicePatch
from .base import NoduleView, Shape, Vector
from .prediction import Prediction
from .readout import Readout


@dataclass(frozen=True)
class AdaptiveSquare:
    """Square around a nodule that is sampled, and the scaling of its HU to 0..1.

    Args:
        factor: edge of the square over the declared diameter.
        minimum_mm: smallest edge in mm.
        central: share of the edge that is sampled without augmentation.
        stretch_each: whether to scale every slice from its own darkest to its own brightest pixel instead of by the HU
            window.
    """

    factor: float = 1.5
    minimum_mm: float = 24.0
    central: float = 1.0
    stretch_each: bool = False

    def edge_mm(self, diameter_mm: float | None) -> float:
        """Edge of the square in mm.

        Raises:
            ValueError: the diameter is not a positive length.
        """
        if diameter_mm is None or not (np.isfinite(diameter_mm) and diameter_mm > 0):
            raise ValueError(
                f"the square around a nodule needs its diameter in mm, a positive number, got {diameter_mm}"
            )
        return max(self.minimum_mm, self.factor * float(diameter_mm))

    def sample(self, ct: np.ndarray, patch: SlicePatch, hu_window: tuple[float, float]) -> np.ndarray:
        """The patch's slices of a CT ``[X, Y, Z]`` in HU: float32 ``[S, H, W]`` in 0..1."""
        if not self.stretch_each:
            return patch.sample(window(ct, *hu_window))
        stack = patch.sample(ct)
        low, high = stack.min(axis=(1, 2), keepdims=True), stack.max(axis=(1, 2), keepdims=True)
        return (stack - low) / np.maximum(high - low, 1.0)


SQUARES = {
    "adaptive": AdaptiveSquare(),
    "paper_code": AdaptiveSquare(factor=1.0, minimum_mm=0.0, central=0.875, stretch_each=True),
}
"""``adaptive``: half a diameter of surroundings, nothing lost at the border. ``paper_code``: the square of the released
code, tight around the nodule and, without augmentation, cut to 0.875 of it, each patch scaled on its own."""


@dataclass(frozen=True)
class SquareView(NoduleView):
    """The slices within half the declared diameter of the centre, each one image ``[1, H, W]`` (H along x, W along y).

    Where the VOI is smaller than the square it is edge-replicated, never stretched.

    Args:
        image_size: pixels along the edge.
        crop: a name of :data:`SQUARES`.
        hu_window: HU that become 0 and 1.
        attributes: whether the network predicts the eight attributes besides malignancy.
        readout: joins the scores with the declared diameter and the density within it.
        flips: whether a prediction is the mean over the images and their mirrored copies.

    Raises:
        InputError: ``crop`` or ``hu_window`` is not valid.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.core import SquareView
        >>> view = SquareView(image_size=64)
        >>> ct = np.full((40, 40, 20), -800.0)
        >>> prepared = view.prepare(ct, spacing=(1, 1, 2), center=(20, 20, 10), diameter=12.0)
        >>> prepared.images.shape
        (7, 1, 64, 64)
        >>> outputs = {name: np.full(7, 0.5) for name in view.channels}
        >>> view.aggregate(outputs, prepared.patch).attributes["calcification"]
        3.5
    """

    image_size: int
    crop: str = "adaptive"
    hu_window: tuple[float, float] = NETWORK_WINDOW
    attributes: bool = True
    readout: Readout | None = None
    flips: bool = False

    needs = ("diameter_mm",)
    slicewise = True

    def __post_init__(self) -> None:
        if self.crop not in SQUARES:
            raise InputError(f"crop must be one of {', '.join(SQUARES)}, got {self.crop!r}")
        checked_window(self.hu_window)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> SquareView:
        """From ``patch`` (``crop``, ``image_size``), ``window`` and the network's ``regression``."""
        return cls(
            image_size=int(settings["patch"]["image_size"]),
            crop=settings["patch"]["crop"],
            hu_window=checked_window(settings["window"]),
            attributes=settings["network"].get("regression", True),
            readout=Readout.from_settings(settings.get("readout")),
            flips=bool(settings.get("flips", False)),
        )

    @property
    def square(self) -> AdaptiveSquare:
        """The square that is sampled."""
        return SQUARES[self.crop]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Grey, x, y."""
        return 1, self.image_size, self.image_size

    @property
    def channels(self) -> tuple[str, ...]:
        """Malignancy, then the attributes."""
        return ("malignancy", *(ATTRIBUTES if self.attributes else ()))

    @property
    def rated(self) -> tuple[str, ...]:
        """All eight, of a network that predicts them."""
        return ATTRIBUTES if self.attributes else ()

    @property
    def reach_diameters(self) -> float:
        """The square's edge, and at least the slices' extent."""
        return max(self.square.factor, 1.0)

    def reach_mm(self, diameter: float | None = None) -> float:
        """Edge of the cube that holds the nodule's square and the slices within its declared diameter."""
        return max(self.square.edge_mm(diameter), float(diameter or 0))

    def patch(self, shape: Shape, spacing: Vector, center: Vector, diameter: float | None = None) -> SlicePatch:
        """The square for this nodule's diameter."""
        edge = self.square.edge_mm(diameter) * self.square.central
        return SlicePatch(shape, spacing, center, edge, int(self.image_size), float(diameter or 0))

    def images(self, ct: np.ndarray, patch: SlicePatch) -> np.ndarray:
        """The HU are windowed (or stretched slice by slice) and sampled linearly: float32 ``[S, 1, H, W]``."""
        return self.square.sample(ct, patch, self.hu_window)[:, None]

    def aggregate(self, outputs: Mapping[str, np.ndarray], patch: SlicePatch) -> Prediction:
        """A nodule is the mean of its slices (section 3.1); attributes are brought back to the readers' own scales.

        Args:
            outputs: ``malignancy`` and, where they are predicted, the eight attributes, ``[S]`` each in 0..1.
            patch: patch of the slices.
        """
        means = np.stack([outputs[name] for name in self.channels], axis=1).mean(axis=0, dtype=np.float64)
        ratings = original_scale(means[1:]).tolist() if self.attributes else []
        return Prediction(patch, float(means[0]), attributes=dict(zip(self.channels[1:], ratings, strict=True)))

    def describe(self) -> dict[str, Any]:
        """The square, the window, and the attributes' scales in the order of the channels from the second on."""
        attributes = self.channels[1:]
        return {
            "image_size": self.image_size,
            "window": list(self.hu_window),
            "crop": self.crop,
            **{f"square_{name}": value for name, value in asdict(self.square).items()},
            "slices": "those within half the declared diameter of the centre",
            "image_channels": ["slice"],
            "pred_channels": list(self.channels),
            "attribute_minimum": [1] * len(attributes),
            "attribute_maximum": [HIGHEST_RATING[attribute] for attribute in attributes],
            "nodule_score": "the mean over the slices of the nodule",
        }
