"""Cubes around a nodule that are replaced by lung, one at a time, to see what the answer depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
from lung_nodule.io import Voi, Volume

CUBES = 5
"""Cubes along each axis: at most 125 requests a nodule."""
LEAST_MM = 3.0
"""Smallest edge of a cube."""
UNMEASURED_MM = 15.0
"""What a nodule without mask and diameter is taken for."""
LUNG_BELOW_HU = -500.0
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Occlusion:
    """How a nodule's malignancy probability changes when parts of its VOI are replaced by lung.

    Attributes:
        edges: by axis, the voxel of the VOI with which each cube begins, and where the last one ends, int ``[n + 1]``.
        cube_mm: edge of a cube, in whole voxels only as nearly as they allow.
        hu: what the voxels of a cube were replaced by.
        change: float ``[nx, ny, nz]``, probability with the cube replaced less the probability without; NaN before it
            was asked for.
    """

    edges: tuple[np.ndarray, np.ndarray, np.ndarray]
    cube_mm: float
    hu: float
    change: np.ndarray

    def box(self, index: int) -> Box:
        """The voxels of a cube, by its position in ``change.ravel()``."""
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
    """The cubes around a nodule: three across it and one on each side, their change still unknown.

    Args:
        voi: as it was sent.
        mask: bool ``[x, y, z]``, the nodule; None or empty where there is none.
        diameter_mm: where there is no mask, the nodule's diameter around the centre, if it is known.
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
    """A voxel belongs to the cube that its centre lies in; cubes that the VOI cuts off are left out."""
    borders = middle + (np.arange(CUBES + 1) - CUBES / 2) * edge_mm / spacing
    return np.unique(np.clip(np.ceil(borders).astype(int), 0, size))


def _lung_hu(hu: np.ndarray) -> float:
    """Median of all that is lung or air: the server refuses a VOI without any."""
    lung = hu[hu < LUNG_BELOW_HU]
    return float(np.median(lung)) if lung.size else LUNG_BELOW_HU


class OccludedVois(Sequence[Voi]):
    """The VOI with each of the cubes replaced, in the order of ``change.ravel()``; each is made when it is taken."""

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
        at = range(len(self))[index]  # raises IndexError at the end, by which a loop over a sequence ends
        hu = self._voi.volume.data.copy()
        hu[self._occlusion.box(at)] = self._occlusion.hu
        return replace(self._voi, volume=Volume(hu, self._voi.volume.affine))
