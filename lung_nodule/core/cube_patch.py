"""The isotropic cube around a nodule's centre: sampled from a VOI, and maps of it resampled back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .interpolation import interpolation_matrix, reached, restoring_matrix, spline_matrix

MATRICES = {1: interpolation_matrix, 3: spline_matrix}


@dataclass(frozen=True)
class CubePatch:
    """An isotropic cube around a nodule's centre (3-D methods and the nine views).

    Voxel ``i`` along an edge lies ``(i - (image_size - 1) / 2) * patch_mm / image_size`` mm from the centre. The volume
    is sampled separably, one matrix per axis, and edge-replicated beyond its faces: padded, never stretched. Only
    centre and spacing decide what is sampled.

    Args:
        shape: ``[X, Y, Z]`` of the VOI (canonical LPS order).
        spacing: voxel size in mm, (x, y, z).
        center: centre of the nodule as a fractional voxel index of the VOI.
        patch_mm: edge of the cube in mm.
        image_size: voxels along that edge.
        order: 1 linear; 3 interpolating cubic spline (for a CT; it overshoots at edges, so masks are sampled with 1
            and thresholded at 0.5).

    Raises:
        ValueError: an order other than 1 or 3, or a cube without extent.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, float, float]
    center: tuple[float, float, float]
    patch_mm: float
    image_size: int
    order: int = 1

    def __post_init__(self) -> None:
        if self.order not in MATRICES:
            raise ValueError(f"the order of interpolation must be 1 (linear) or 3 (cubic spline), got {self.order!r}")
        if self.image_size < 1 or self.patch_mm <= 0:
            raise ValueError(
                f"a cube needs an edge above 0 mm and at least 1 voxel, got {self.patch_mm}, {self.image_size}"
            )

    @property
    def inside(self) -> np.ndarray | None:
        """bool, as :meth:`sample`: where the cube shows the volume itself; None for one that is padded beyond it."""
        return None

    @property
    def pixel_mm(self) -> float:
        """Edge of one voxel of the cube, in mm."""
        return self.patch_mm / self.image_size

    @property
    def central_pixel(self) -> tuple[int, int, int]:
        """(slice, x, y) of the nodule's centre in the arrays that :meth:`sample` returns."""
        return self.image_size // 2, self.image_size // 2, self.image_size // 2

    @property
    def pixel_spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbours along slice, x and y in the arrays that :meth:`sample` returns."""
        return self.pixel_mm, self.pixel_mm, self.pixel_mm

    def sample(self, volume: np.ndarray) -> np.ndarray:
        """The cube of a volume on the VOI's grid (CT, or a mask as 0/1).

        Args:
            volume: ``[X, Y, Z]``, any real dtype.

        Returns:
            float32 ``[image_size, image_size, image_size]``: slice (z), x, y.

        Raises:
            ValueError: the volume is not of the patch's shape.
        """
        if tuple(volume.shape) != tuple(self.shape):
            raise ValueError(f"the volume's shape {tuple(volume.shape)} is not the patch's {tuple(self.shape)}")
        matrices = [MATRICES[self.order](self._positions(axis), self.shape[axis]) for axis in range(3)]
        box = tuple(reached(matrix) for matrix in matrices)
        x, y, z = (matrix[:, part] for matrix, part in zip(matrices, box, strict=True))
        slices = np.tensordot(z, volume[box].astype(np.float32), axes=(1, 2))
        return np.ascontiguousarray(x @ slices @ y.T)

    def restore(self, maps: np.ndarray) -> np.ndarray:
        """Bring a map of the cube back onto the VOI's grid.

        Where a voxel is larger than the cube's, those that it covers are averaged, else it is interpolated linearly.

        Args:
            maps: ``[image_size, image_size, image_size]``: slice (z), x, y.

        Returns:
            float32 ``[X, Y, Z]``, 0 outside the cube.

        Raises:
            ValueError: the maps are not of the patch's shape.
        """
        if tuple(maps.shape) != (self.image_size,) * 3:
            raise ValueError(f"the maps' shape {tuple(maps.shape)} is not the patch's {(self.image_size,) * 3}")
        x, y, z = (self._restoring_matrix(axis) for axis in range(3))
        slices = np.tensordot(z, maps.astype(np.float32), axes=(1, 0))
        return np.ascontiguousarray(np.moveaxis(x @ slices @ y.T, 0, 2))

    def _positions(self, axis: int) -> np.ndarray:
        """Fractional voxel indices of the VOI at which the cube's voxels lie along an axis."""
        offset = (np.arange(self.image_size) - (self.image_size - 1) / 2) * self.pixel_mm
        return self.center[axis] + offset / self.spacing[axis]

    def _restoring_matrix(self, axis: int) -> np.ndarray:
        """``[shape[axis], image_size]``: from the cube's voxels to the VOI's."""
        return restoring_matrix(
            self.shape[axis],
            self.image_size,
            center=self.center[axis],
            pixels_per_voxel=self.spacing[axis] / self.pixel_mm,
        )


class ScannedCube(CubePatch):
    """A cube that shows nothing beyond the volume, for references and baselines, which are undefined beyond the scan.

    Half of the tight crops end, along z, with the nodule: replicated beyond its last slice, a mask would extend to the
    cube's face.
    """

    @property
    def inside(self) -> np.ndarray:
        """bool ``[image_size, image_size, image_size]``: where the cube shows the volume itself."""
        return self.sample(np.ones(self.shape, dtype=np.float32)) >= 0.5

    def sample(self, volume: np.ndarray) -> np.ndarray:
        """The cube of a volume, with the volume's lowest value (or 0, if that is lower) beyond it."""
        padded = np.pad(volume, 1, constant_values=min(volume.min(), 0))
        shape, center = tuple(n + 2 for n in self.shape), tuple(c + 1 for c in self.center)
        return CubePatch.sample(replace(self, shape=shape, center=center), padded)

    def sample_replicated(self, volume: np.ndarray) -> np.ndarray:
        """The cube of a volume with its faces repeated beyond it: what a network sees."""
        return CubePatch.sample(self, volume)
