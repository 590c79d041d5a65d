"""The end-to-end network's channels cached in files: SLIC takes about half a second for 64 x 64 x 64 voxels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from lung_nodule.core import CubeView
from lung_nodule.data.channels import CHANNELS, ImageChannels
from lung_nodule.data.crops import RandCropVariant
from lung_nodule.data.nodule_view import ViewNodule
from lung_nodule.errors import InputError
from lung_nodule.io import atomic_path
from lung_nodule.runtime.progress_bar import progress


class CubeChannels(ImageChannels):
    """:class:`~lung_nodule.data.channels.ImageChannels` whose derived channels may be cached.

    They depend on the cube's voxels and on the options alone. With ``cache_dir`` they are stored in a file named by the
    hash of just these (and of scikit-image's version), so that no other voxels and no other options can ever reuse
    them.

    Args:
        names: see ``ImageChannels``, as are ``slic_segments`` and ``slic_compactness``.
        cache_dir: folder of the cached channels; none are cached when not given.
    """

    def __init__(self, names: Sequence[str] = CHANNELS, *, cache_dir: str | Path | None = None, **options: Any) -> None:
        super().__init__(names, **options)
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    def derived(self, cube: np.ndarray) -> dict[str, np.ndarray]:
        """The cached channels, or new ones, which are then cached."""
        if self.cache_dir is None:
            return super().derived(cube)
        path = self.cache_dir / f"{self.key(cube)}.npz"
        if path.is_file():
            return _read(path)
        derived = super().derived(cube)
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **derived)
        return derived

    def key(self, cube: np.ndarray) -> str:
        """Hexadecimal hash of the voxels, of what is computed from them, and with what."""
        slic = self.slic if "slic" in self.names else None
        options = {
            "channels": sorted(self.names),
            "slic": slic,
            "skimage": version("scikit-image"),
            "shape": cube.shape,
        }
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode() + cube.tobytes()).hexdigest()[:32]


def fill_channel_cache(
    nodules: Sequence[Mapping[Any, Any]], *, view: ViewNodule, crops: RandCropVariant | None = None, workers: int = 2
) -> None:
    """Compute the channels of every nodule (and of every variant of its crop) before a training, with a progress bar.

    Args:
        nodules: loaded nodules, as the training's random transforms take them.
        view: a cube's view, whose channels have a cache; without one nothing is computed.
        crops: the variants; the whole VOIs alone when not given.
        workers: number of threads.
    """
    channels = view.view.make_channels if isinstance(view.view, CubeView) else None
    if not isinstance(channels, CubeChannels) or channels.cache_dir is None:
        return
    variants = crops.variants if crops else 1

    def fill(index: int) -> None:
        nodule, number = nodules[index // variants], index % variants
        view(crops.variant(nodule, number) if crops else nodule)

    cubes = len(nodules) * variants
    with ThreadPoolExecutor(workers) as pool, progress(cubes, description="channels", unit="cube") as step:
        for _ in pool.map(fill, range(cubes)):
            step()


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}); remove it, and it is computed again") from error
