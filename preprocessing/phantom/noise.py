"""Noise computed once per scan on a tile and reused with random shifts."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


class NoiseTile:
    """Band-limited noise of standard deviation 1 on a periodic tile."""

    def __init__(self, rng: np.random.Generator, *, size: int, blur_pixels: float) -> None:
        """Draw the tile: [size, size], neighbours correlated over about ``blur_pixels``."""
        tile = ndimage.gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), blur_pixels, mode="wrap")
        self._tile = np.tile(tile / tile.std(), (2, 2))
        self._size = size

    def crop(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        """A randomly shifted piece, float32 of ``shape`` (at most the tile's size)."""
        row, column = rng.integers(0, self._size, 2)
        return self._tile[row : row + shape[0], column : column + shape[1]]


class Mottle:
    """A stack of low-frequency images of standard deviation 1, correlated in-plane and over a few slices."""

    def __init__(
        self, rng: np.random.Generator, *, shape: tuple[int, int], slices: int, blur_pixels: float, blur_slices: int
    ) -> None:
        """Draw one image every ``blur_slices`` slices; those in between are interpolated."""
        tile = NoiseTile(rng, size=max(shape), blur_pixels=blur_pixels)
        self._knots = [tile.crop(rng, shape) for _ in range(slices // blur_slices + 2)]
        self._step = blur_slices

    def at(self, k: int) -> np.ndarray:
        """The image of slice ``k``, float32."""
        knot, rest = divmod(k, self._step)
        share = np.float32(rest / self._step)
        blend = (1 - share) * self._knots[knot] + share * self._knots[knot + 1]
        return blend / np.sqrt(share**2 + (1 - share) ** 2)
