"""Occlusion of a nodule: cubes that are replaced by lung one at a time to see what the answer depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
from lung_nodule.io import Voi, Volume
from lung_nodule.lidc import AIR_BELOW_HU

CUBES = 5
"""Cubes along each axis: at most 125 requests a nodule."""
LEAST_MM = 3.0
"""Smallest edge of a cube."""
UNMEASURED_MM = 15.0
"""Assumed diameter of a nodule without mask and diameter."""
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Occlusion:
    """Change of a nodule's malignancy probability when parts of its VOI are replaced by lung.

    Attributes:
        edges: by axis, first voxel of each cube in the VOI and the end of the last one, int ``[n + 1]``.
        cube_mm: nominal edge of a cube in mm; the cubes are rounded to whole voxels.
        hu: HU that replaces the voxels of a cube.
        change: float ``[nx, ny, nz]``, probability with the cube replaced minus that without; NaN before it is
            computed.
    """

    edges: tuple[np.ndarray, np.ndarray, np.ndarray]
    cube_mm: float
    hu: float
    change: np.ndarray

    def box(self, index: int) -> Box:
        """Voxels of a cube, by its index in ``change.ravel()``."""
        at = np.unravel_index(index, self.change.shape)
        x, y, z = (slice(int(edge[k]), int(edge[k + 1])) for edge, k in zip(self.edges, at, strict=True))
        return x, y, z

    def on_voxels(self, shape: tuple[int, int, int]) -> np.ndarray:
        """The change as float32 on the VOI's voxels, 0 outside the cubes."""
        values = np.zeros(shape, dtype=np.float32)
        for index, change in enumerate(self.change.ravel()):
            values[self.box(index)] = change
        return values


def occlusion_of(voi: Voi, mask: np.ndarray | None, diameter_mm: float | None) -> Occlusion:
    """Define the cubes around a nodule: three across it and one on each side; ``change`` is NaN.

    Args:
        voi: VOI that was sent.
        mask: bool ``[x, y, z]``, mask of the nodule; None or empty if there is none.
        diameter_mm: diameter of the nodule if known; used without a mask.
    """
    spacing = voi.volume.spacing
    if mask is not None and mask.any():
        found = np.argwhere(mask)
        low, high = found.min(axis=0), found.max(axis=0) + 1
        middle, diameter = (low + high - 1) / 2, float(((high - low) * spacing).max())
    else:
        middle, diameter = voi.center, diameter_mm or UNMEASURED_MM
    edge_mm = max(diameter / (CUBES - 2), LEAST_MM, float(spacing.max()))
    x, y, z = (_edges(*axis, edge_mm) for axis in zip(middle, spacing, voi.volume.shape, strict=True))
    shape = (len(x) - 1, len(y) - 1, len(z) - 1)
    return Occlusion((x, y, z), edge_mm, _lung_hu(voi.volume.data), np.full(shape, np.nan))


def _edges(middle: float, spacing: float, size: int, edge_mm: float) -> np.ndarray:
    """Voxel edges of the cubes along an axis, without cubes outside of the VOI.

    A voxel belongs to the cube that contains its centre.
    """
    borders = middle + (np.arange(CUBES + 1) - CUBES / 2) * edge_mm / spacing
    return np.unique(np.clip(np.ceil(borders).astype(int), 0, size))


def _lung_hu(hu: np.ndarray) -> float:
    """Median HU of lung and air; the server refuses a VOI without any."""
    lung = hu[hu < AIR_BELOW_HU]
    return float(np.median(lung)) if lung.size else AIR_BELOW_HU


class OccludedVois(Sequence[Voi]):
    """VOIs with one cube replaced each, in the order of ``change.ravel()``; created on access."""

    def __init__(self, voi: Voi, occlusion: Occlusion) -> None:
        self._voi, self._occlusion = voi, occlusion

    def __len__(self) -> int:
        return self._occlusion.change.size

    @overload
    def __getitem__(self, index: int) -> Voi: ...
    @overload
    def __getitem__(self, index: slice) -> list[Voi]: ...
    def __getitem__(self, index: int | slice) -> Voi | list[Voi]:
        if isinstance(index, slice):
            return [self[k] for k in range(len(self))[index]]
        at = range(len(self))[index]  # IndexError at the end, which stops iteration
        hu = self._voi.volume.data.copy()
        hu[self._occlusion.box(at)] = self._occlusion.hu
        return replace(self._voi, volume=Volume(hu, self._voi.volume.affine))
