"""The image channels of the end-to-end multi-task network: the windowed cube, its Otsu mask, its supervoxels.

This file is copied unchanged next to the served steps of a model that needs these channels, so of this library it
imports only ``errors``; scikit-image is imported when a channel is computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lung_nodule.errors import InputError

CHANNELS = ("ct", "otsu", "slic")


class ImageChannels:
    """From a windowed cube to the network's channels (Chen et al. 2020: Otsu and SLIC besides the image).

    Args:
        names: channel names, of ``ct``, ``otsu`` and ``slic``, in their order.
        slic_segments: number of supervoxels asked for.
        slic_compactness: weight of distance against intensity, which SLIC scales to 0..1.

    Raises:
        InputError: a name is unknown, or no name is given.
    """

    def __init__(
        self, names: Sequence[str] = CHANNELS, *, slic_segments: int = 1000, slic_compactness: float = 0.1
    ) -> None:
        unknown = [name for name in names if name not in CHANNELS]
        if unknown or not names:
            raise InputError(f"channels must be some of {', '.join(CHANNELS)}, got {list(names)}")
        self.names = tuple(names)
        self.slic = {"segments": int(slic_segments), "compactness": float(slic_compactness)}

    def __call__(self, cube: np.ndarray) -> np.ndarray:
        """Windowed cube ``[S, H, W]`` in 0..1 -> float32 ``[C, S, H, W]`` in 0..1."""
        cube = np.ascontiguousarray(cube, dtype=np.float32)
        derived = self.derived(cube) if set(self.names) - {"ct"} else {}
        return np.stack([cube if name == "ct" else derived[name].astype(np.float32) for name in self.names])

    def check_installed(self) -> None:
        """Import scikit-image where a channel needs it.

        Raises:
            ImportError: it is not installed.
        """
        if set(self.names) - {"ct"}:
            import skimage.filters
            import skimage.segmentation  # noqa: F401

    def derived(self, cube: np.ndarray) -> dict[str, np.ndarray]:
        """The channels besides the cube itself, by name."""
        channels = {"otsu": otsu_channel, "slic": lambda voxels: slic_channel(voxels, **self.slic)}
        return {name: compute(cube) for name, compute in channels.items() if name in self.names}


def otsu_channel(cube: np.ndarray) -> np.ndarray:
    """bool, like the cube: above its one Otsu threshold; empty for a constant cube."""
    from skimage.filters import threshold_otsu

    return cube > threshold_otsu(cube)


def slic_channel(cube: np.ndarray, *, segments: int, compactness: float) -> np.ndarray:
    """float32, like the cube: the mean intensity of each voxel's three-dimensional supervoxel."""
    from skimage.segmentation import slic

    labels = slic(cube, n_segments=segments, compactness=compactness, channel_axis=None, start_label=0)
    sums, voxels = np.bincount(labels.ravel(), weights=cube.ravel()), np.bincount(labels.ravel())
    return (sums / np.maximum(voxels, 1))[labels].astype(np.float32)
