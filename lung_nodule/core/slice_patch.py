"""The fixed patch around a nodule's centre: sampled from a VOI, and maps of it resampled back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .interpolation import interpolation_matrix, restoring_matrix


@dataclass(frozen=True)
class SlicePatch:
    """The axial slices of a fixed patch around a nodule's centre (2-D methods).

    In the plane the patch is a square of ``patch_mm`` with ``image_size`` x ``image_size`` pixels, sampled linearly and
    edge-replicated beyond the volume. Along z it holds the volume's own slices within ``z_patch_mm``; none are
    interpolated. Only centre and spacing decide what is sampled.

    Args:
        shape: ``[X, Y, Z]`` of the VOI (canonical LPS order).
        spacing: voxel size in mm, (x, y, z).
        center: centre of the nodule as a fractional voxel index of the VOI.
        patch_mm: edge of the square patch in mm.
        image_size: pixels along that edge.
        z_patch_mm: extent of the patch along z in mm; as ``patch_mm`` when not given.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, float, float]
    center: tuple[float, float, float]
    patch_mm: float
    image_size: int
    z_patch_mm: float | None = None

    @property
    def pixel_mm(self) -> float:
        """Edge of one pixel of the patch, in mm."""
        return self.patch_mm / self.image_size

    @property
    def slices(self) -> np.ndarray:
        """int ``[S]``: the VOI's z indices within the patch, ascending; at least the one nearest the centre."""
        half = (self.patch_mm if self.z_patch_mm is None else self.z_patch_mm) / 2
        z = np.arange(self.shape[2])
        inside = z[np.abs(z - self.center[2]) * self.spacing[2] <= half + 1e-6]
        return inside if len(inside) else np.array([int(np.abs(z - self.center[2]).argmin())])

    @property
    def inside(self) -> None:
        """None: only existing slices are sampled, and in the plane the edge is repeated."""

    @property
    def central(self) -> int:
        """Position within :attr:`slices` of the slice nearest the centre."""
        return int(np.abs(self.slices - self.center[2]).argmin())

    @property
    def central_pixel(self) -> tuple[int, int, int]:
        """(slice, x, y) of the nodule's centre in the arrays that :meth:`sample` returns."""
        return self.central, self.image_size // 2, self.image_size // 2

    @property
    def pixel_spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbours along slice, x and y in the arrays that :meth:`sample` returns."""
        return self.spacing[2], self.pixel_mm, self.pixel_mm

    def _positions(self, axis: int) -> np.ndarray:
        """Fractional voxel indices of the patch's pixel centres along x (0) or y (1)."""
        offset = (np.arange(self.image_size) - (self.image_size - 1) / 2) * self.pixel_mm
        return self.center[axis] + offset / self.spacing[axis]

    def sample(self, volume: np.ndarray) -> np.ndarray:
        """The patch of a volume on the VOI's grid (windowed CT, or a mask as 0/1).

        Args:
            volume: ``[X, Y, Z]``, any real dtype.

        Returns:
            float32 ``[S, image_size, image_size]``; the first image axis is x, the second y.

        Raises:
            ValueError: the volume is not of the patch's shape.
        """
        if tuple(volume.shape) != tuple(self.shape):
            raise ValueError(f"the volume's shape {tuple(volume.shape)} is not the patch's {tuple(self.shape)}")
        rows = interpolation_matrix(self._positions(0), self.shape[0])
        columns = interpolation_matrix(self._positions(1), self.shape[1])
        stack = np.moveaxis(volume[:, :, self.slices].astype(np.float32), 2, 0)
        return np.ascontiguousarray(rows @ stack @ columns.T)

    def restore(self, maps: np.ndarray) -> np.ndarray:
        """Bring maps of the patch back onto the VOI's grid.

        Where a voxel is larger than a pixel, the pixels that it covers are averaged, else it is interpolated linearly.

        Args:
            maps: ``[S, image_size, image_size]``, one map per slice of :attr:`slices`.

        Returns:
            float32 ``[X, Y, Z]``, 0 outside the patch.

        Raises:
            ValueError: the maps are not of the patch's shape.
        """
        expected = (len(self.slices), self.image_size, self.image_size)
        if tuple(maps.shape) != expected:
            raise ValueError(f"the maps' shape {tuple(maps.shape)} is not the patch's {expected}")
        rows, columns = self._restoring_matrix(0), self._restoring_matrix(1)
        restored = np.zeros(self.shape, dtype=np.float32)
        restored[:, :, self.slices] = np.moveaxis(rows @ maps.astype(np.float32) @ columns.T, 0, 2)
        return restored

    def _restoring_matrix(self, axis: int) -> np.ndarray:
        """``[shape[axis], image_size]``: from the patch's pixels to the VOI's voxels."""
        return restoring_matrix(
            self.shape[axis],
            self.image_size,
            center=self.center[axis],
            pixels_per_voxel=self.spacing[axis] / self.pixel_mm,
        )
