"""The end-to-end multi-task network's view: a cube around the nodule's centre, with the CT and derived channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...lidc import ATTRIBUTE_THRESHOLDS, NETWORK_WINDOW
from ..components import MASK_THRESHOLD, cut_at_half
from ..cube_patch import ScannedCube
from ..intensity import checked_window, window
from .base import NoduleView, Shape, Vector
from .prediction import Prediction
from .readout import Readout

ImageChannels = Callable[[np.ndarray], np.ndarray]
"""From a windowed cube ``[S, H, W]`` in 0..1 to the network's channels, float32 ``[C, S, H, W]`` in 0..1."""


@dataclass(frozen=True)
class CubeView(NoduleView):
    """The cube around a nodule's centre as one image ``[C, x, y, z]``, edge-replicated beyond the VOI.

    Args:
        patch_mm: edge of the cube in mm.
        image_size: voxels along that edge.
        hu_window: HU that become 0 and 1.
        channel_options: ``names`` of the image's channels, of which ``ct`` is the windowed cube, and how the others are
            made; ``ct`` alone when not given.
        make_channels: function that makes these channels; the core can make only ``ct``.
        multi_task: whether the network also classifies.
        readout: joins the score with measurements of the mask.
        flips: whether a prediction is the mean over the images and their mirrored copies.
        mask_threshold: probability from which the network's own map is the nodule.

    Raises:
        InputError: ``hu_window`` is not a window.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.core import CubeView
        >>> view = CubeView(patch_mm=32.0, image_size=32)
        >>> prepared = view.prepare(np.full((40, 40, 20), -800.0), spacing=(1, 1, 2), center=(20, 20, 10))
        >>> prepared.images.shape
        (1, 1, 32, 32, 32)
        >>> len(view.channels)  # the mask, malignancy, seven attributes
        9
    """

    patch_mm: float
    image_size: int
    hu_window: tuple[float, float] = NETWORK_WINDOW
    channel_options: Mapping[str, Any] | None = None
    make_channels: ImageChannels | None = None
    multi_task: bool = True
    readout: Readout | None = None
    flips: bool = False
    mask_threshold: float = MASK_THRESHOLD

    segments = True

    def __post_init__(self) -> None:
        checked_window(self.hu_window)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], *, make_channels: ImageChannels | None = None) -> CubeView:
        """From ``patch`` (``patch_mm``, ``image_size``), ``window``, ``channels`` and the network's ``multi_task``."""
        patch, channels = settings["patch"], settings["channels"]
        return cls(
            patch_mm=float(patch["patch_mm"]),
            image_size=int(patch["image_size"]),
            hu_window=checked_window(settings["window"]),
            channel_options={
                "names": list(channels["names"]),
                "slic_segments": int(channels["slic_segments"]),
                "slic_compactness": float(channels["slic_compactness"]),
            },
            make_channels=make_channels,
            multi_task=settings["network"].get("multi_task", True),
            readout=Readout.from_settings(settings.get("readout")),
            flips=bool(settings.get("flips", False)),
            mask_threshold=float(settings.get("mask_threshold", MASK_THRESHOLD)),
        )

    @property
    def image_channels(self) -> tuple[str, ...]:
        """Names of the image's channels."""
        return ("ct",) if self.channel_options is None else tuple(self.channel_options["names"])

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        """Channels, x, y, z."""
        return len(self.image_channels), self.image_size, self.image_size, self.image_size

    @property
    def channels(self) -> tuple[str, ...]:
        """The mask, malignancy, then the attributes."""
        return ("mask", "malignancy", *ATTRIBUTE_THRESHOLDS) if self.multi_task else ("mask",)

    @property
    def has_score(self) -> bool:
        """A network of the single task gives the mask alone."""
        return self.multi_task

    @property
    def judged_high(self) -> tuple[str, ...]:
        """All that the network classifies."""
        return self.channels[2:]

    def reach_mm(self, diameter: float | None = None) -> float:
        """Edge of the cube, the same for every nodule."""
        return self.patch_mm

    def patch(self, shape: Shape, spacing: Vector, center: Vector, diameter: float | None = None) -> ScannedCube:
        """The cube; references and baselines sampled with it show nothing beyond the scan."""
        return ScannedCube(shape, spacing, center, float(self.patch_mm), int(self.image_size))

    def images(self, ct: np.ndarray, patch: ScannedCube) -> np.ndarray:
        """The HU are windowed, then sampled linearly: float32 ``[1, C, x, y, z]``.

        Raises:
            ValueError: channels besides ``ct`` are requested and nothing makes them.
        """
        cube = patch.sample_replicated(window(ct, *self.hu_window))
        if self.make_channels is None and self.image_channels != ("ct",):
            raise ValueError(
                f"nothing makes the channels {', '.join(self.image_channels)}: give the view make_channels"
            )
        channels = cube[None] if self.make_channels is None else self.make_channels(cube)
        return np.ascontiguousarray(np.moveaxis(channels, 1, 3))[None]

    def aggregate(self, outputs: Mapping[str, np.ndarray], patch: ScannedCube) -> Prediction:
        """The mask's map, cut at 0.5; a score is any voxel of its channel.

        Args:
            outputs: ``mask`` and, of a network that classifies, ``malignancy`` and the attributes, ``[1, x, y, z]``.
            patch: patch of the cube.
        """
        probability = cut_at_half(outputs["mask"][0], self.mask_threshold)
        maps = {"probability": np.ascontiguousarray(np.moveaxis(probability, 2, 0))}
        scores = {name: float(values[0, 0, 0, 0]) for name, values in outputs.items() if name != "mask"}
        return Prediction(patch, scores.pop("malignancy", float("nan")), maps, attribute_probs=scores)

    def describe(self) -> dict[str, Any]:
        """Cube, window, the image's channels, and the thresholds in the order of the channels from the third on."""
        return {
            "image_size": self.image_size,
            "window": list(self.hu_window),
            "patch_mm": self.patch_mm,
            "image_channels": list(self.image_channels),
            **{name: value for name, value in (self.channel_options or {}).items() if name != "names"},
            "pred_channels": list(self.channels),
            "attribute_high_from": [ATTRIBUTE_THRESHOLDS[attribute] for attribute in self.channels[2:]],
            "mask_threshold": self.mask_threshold,
            "nodule_mask": "the component at the centre of the mask channel at mask_threshold, within the scan",
        }
