"""The input channels of the end-to-end multi-task network: the windowed cube, its Otsu mask, its supervoxels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lung_nodule.errors import InputError
from lung_nodule.io import atomic_path

CHANNELS = ("ct", "otsu", "slic")


class CubeChannels:
    """From a windowed cube to the network's channels (Chen et al. 2020: Otsu and SLIC beside the image).

    The derived channels depend on the cube's voxels and on these options alone. With ``cache_dir`` they are kept in a
    file named by the hash of just these (and of scikit-image's version), so that no other voxels and no other options
    can ever reuse them: SLIC takes about half a second for 64 x 64 x 64 voxels.

    Args:
        names: channels, of ``ct``, ``otsu`` and ``slic``, in their order.
        slic_segments: supervoxels asked for.
        slic_compactness: weight of distance against intensity, which SLIC scales to 0..1.
        cache_dir: folder of the kept channels; none are kept when not given.

    Raises:
        InputError: a name is unknown, or there is none.
    """

    def __init__(
        self,
        names: Sequence[str] = CHANNELS,
        *,
        slic_segments: int = 1000,
        slic_compactness: float = 0.1,
        cache_dir: str | Path | None = None,
    ) -> None:
        unknown = [name for name in names if name not in CHANNELS]
        if unknown or not names:
            raise InputError(f"channels must be some of {', '.join(CHANNELS)}, got {list(names)}")
        self.names = tuple(names)
        self.slic = {"segments": int(slic_segments), "compactness": float(slic_compactness)}
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    def __call__(self, cube: np.ndarray) -> np.ndarray:
        """Windowed cube ``[S, H, W]`` in 0..1 -> float32 ``[C, S, H, W]`` in 0..1."""
        cube = np.ascontiguousarray(cube, dtype=np.float32)
        derived = self._derived(cube) if set(self.names) - {"ct"} else {}
        return np.stack([cube if name == "ct" else derived[name].astype(np.float32) for name in self.names])

    def _derived(self, cube: np.ndarray) -> dict[str, np.ndarray]:
        """The kept channels, or new ones, kept."""
        if self.cache_dir is None:
            return self._compute(cube)
        path = self.cache_dir / f"{self.key(cube)}.npz"
        if path.is_file():
            return _read(path)
        derived = self._compute(cube)
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **derived)
        return derived

    def _compute(self, cube: np.ndarray) -> dict[str, np.ndarray]:
        channels = {"otsu": otsu_channel, "slic": lambda voxels: slic_channel(voxels, **self.slic)}
        return {name: compute(cube) for name, compute in channels.items() if name in self.names}

    def key(self, cube: np.ndarray) -> str:
        """Hexadecimal hash of the voxels, of what is computed from them, and with what."""
        import skimage

        slic = self.slic if "slic" in self.names else None
        options = {"channels": sorted(self.names), "slic": slic, "skimage": skimage.__version__, "shape": cube.shape}
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode() + cube.tobytes()).hexdigest()[:32]


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


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}); remove it, and it is computed again") from error
