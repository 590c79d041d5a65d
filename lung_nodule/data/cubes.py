"""From a VOI to the cube that a volumetric method sees."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lung_nodule.core import CubePatch, window
from lung_nodule.data.attributes import binary_attributes
from lung_nodule.data.channels import CubeChannels
from lung_nodule.data.crop_variants import RandCropVariant
from lung_nodule.data.patches import checked_window, position_of
from lung_nodule.lidc import NETWORK_WINDOW
from monai.transforms import Transform
from tqdm import tqdm


class ScannedCube(CubePatch):
    """A cube that shows nothing beyond the volume, for references and baselines: what was not scanned has no truth.

    Half of the tight crops end, along z, with the nodule: replicated beyond its last slice a mask would go on to the
    cube's face.
    """

    def sample(self, volume: np.ndarray) -> np.ndarray:
        """The cube of a volume, with the volume's lowest value (or 0, if that is lower) beyond it."""
        padded = np.pad(volume, 1, constant_values=min(volume.min(), 0))
        shape, center = tuple(n + 2 for n in self.shape), tuple(c + 1 for c in self.center)
        return CubePatch.sample(replace(self, shape=shape, center=center), padded)


class CubeView(Transform):
    """The cube around a nodule's centre with its channels and, where there are any, references.

    Adds ``image`` (float32 ``[C, H, W, S]`` in 0..1, edge-replicated beyond the VOI), ``inside`` (float32
    ``[1, H, W, S]``, 1 where the VOI is), ``label`` (where a mask was loaded: likewise, 0 outside), ``malignancy``
    (float32 ``[1]``, NaN without a class), ``highs`` (float32 ``[7]``, NaN without a rating) and ``patch`` (the
    :class:`ScannedCube` that brings maps back to the VOI).

    Args:
        patch_mm: edge of the cube in mm.
        image_size: voxels along that edge.
        channels: from the windowed cube to the network's channels.
        hu_window: HU that become 0 and 1.
    """

    needs: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        patch_mm: float,
        image_size: int,
        channels: CubeChannels,
        hu_window: tuple[float, float] = NETWORK_WINDOW,
    ) -> None:
        self.options = {"cube_mm": float(patch_mm), "size": int(image_size)}
        self.channels = channels
        self.hu_window = checked_window(hu_window)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        seen, scanned = self._patches(data)
        image = self.channels(seen.sample(window(data["ct"], *self.hu_window)))
        label = {"label": _as_map(scanned.sample(data["mask"]))} if "mask" in data else {}
        return {
            **data,
            **label,
            "image": _as_volume(image),
            "inside": _as_map(scanned.sample(np.ones(data["ct"].shape, dtype=np.float32))),
            "malignancy": torch.tensor([data["malignant"]], dtype=torch.float32),
            "highs": torch.from_numpy(binary_attributes(data)),
            "patch": scanned,
        }

    def reach_mm(self, data: Mapping[Hashable, Any]) -> float:
        """Edge of the cube, whatever the nodule."""
        return self.options["cube_mm"]

    def _patches(self, data: Mapping[Hashable, Any]) -> tuple[CubePatch, ScannedCube]:
        position = position_of(data)
        return CubePatch(**position, **self.options), ScannedCube(**position, **self.options)


def fill_channel_cache(
    nodules: Sequence[Mapping[str, Any]], *, view: CubeView, crops: RandCropVariant | None = None, workers: int = 2
) -> None:
    """Compute the channels of every nodule (and of every variant of its crop) before a training, with a progress bar.

    Args:
        nodules: loaded nodules, as the training's random transforms take them.
        view: the view whose channels have a cache; without one nothing is computed.
        crops: the variants; the whole VOIs alone when not given.
        workers: threads.
    """
    if view.channels.cache_dir is None:
        return
    variants = crops.variants if crops else 1

    def fill(index: int) -> None:
        nodule, number = nodules[index // variants], index % variants
        view(crops.variant(nodule, number) if crops else nodule)

    with ThreadPoolExecutor(workers) as pool:
        cubes = len(nodules) * variants
        list(tqdm(pool.map(fill, range(cubes)), total=cubes, desc="channels", unit="cube"))


def _as_volume(cube: np.ndarray) -> torch.Tensor:
    """``[C, S, H, W]`` -> ``[C, H, W, S]``."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(cube, 1, 3)))


def _as_map(cube: np.ndarray) -> torch.Tensor:
    """``[S, H, W]`` -> 0/1 ``[1, H, W, S]``."""
    return _as_volume((cube >= 0.5).astype(np.float32)[None])
