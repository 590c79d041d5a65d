"""The voxel grid of one scan in the coordinates of ``anatomy``, and interpolation from every second pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

SIZE = 512  # the readers' contours are pixel indices of LIDC's 512 x 512 images


@dataclass(frozen=True, eq=False)
class Grid:
    """Positions of the voxels.

    Attributes:
        pixel_mm: in-plane spacing.
        z: float [slices], slice positions in mm, ascending.
        slice_mm: slice thickness.
    """

    pixel_mm: float
    z: np.ndarray
    slice_mm: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) voxels."""
        return len(self.z), SIZE, SIZE

    @property
    def coarse_shape(self) -> tuple[int, int]:
        """(y, x) of the image on every second pixel."""
        return SIZE // 2, SIZE // 2

    @property
    def field_mm(self) -> float:
        """Side of the image."""
        return SIZE * self.pixel_mm

    @property
    def spacing_z(self) -> float:
        """Median distance between slices in mm."""
        return float(np.median(np.diff(self.z)))

    def to_mm(self, index: ArrayLike) -> np.ndarray:
        """In-plane positions of pixel indices, in mm from the image's centre."""
        return (np.asarray(index, dtype=np.float32) - (SIZE - 1) / 2) * np.float32(self.pixel_mm)

    def to_index(self, mm: np.ndarray) -> np.ndarray:
        """Pixel indices (float) of in-plane positions in mm from the image's centre."""
        return np.asarray(mm, dtype=np.float64) / self.pixel_mm + (SIZE - 1) / 2

    def coarse_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """x [1, 256] and y [256, 1] in mm of every second pixel."""
        axis = self.to_mm(np.arange(0, SIZE, 2))
        return axis[None, :], axis[:, None]

    def box(self, low: np.ndarray, high: np.ndarray) -> tuple[slice, slice, slice] | None:
        """Index ranges (z, y, x) of the box from ``low`` to ``high`` (x, y, z in mm); None if it is outside."""
        first = np.clip(np.ceil(self.to_index(low[:2])), 0, SIZE).astype(int)
        last = np.clip(np.floor(self.to_index(high[:2])) + 1, 0, SIZE).astype(int)
        z0, z1 = np.searchsorted(self.z, low[2], "left"), np.searchsorted(self.z, high[2], "right")
        if z1 <= z0 or (last <= first).any():
            return None
        return slice(int(z0), int(z1)), slice(first[1], last[1]), slice(first[0], last[0])

    def axes(self, box: tuple[slice, slice, slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x [1, 1, nx], y [1, ny, 1], z [nz, 1, 1] in mm of a box's voxels, float32."""
        x = self.to_mm(np.arange(box[2].start, box[2].stop))[None, None, :]
        y = self.to_mm(np.arange(box[1].start, box[1].stop))[None, :, None]
        return x, y, self.z[box[0]].astype(np.float32)[:, None, None]


def upsample(image: np.ndarray) -> np.ndarray:
    """[h, w] -> [2h, 2w], linear; even pixels keep their values, the last row and column are repeated."""
    rows = np.empty((2 * image.shape[0], image.shape[1]), dtype=np.float32)
    rows[::2] = image
    rows[1:-1:2] = 0.5 * (image[:-1] + image[1:])
    rows[-1] = image[-1]
    full = np.empty((rows.shape[0], 2 * rows.shape[1]), dtype=np.float32)
    full[:, ::2] = rows
    full[:, 1:-1:2] = 0.5 * (rows[:, :-1] + rows[:, 1:])
    full[:, -1] = rows[:, -1]
    return full
