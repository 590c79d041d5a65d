"""Cut a VOI around a nodule out of a CT, and paste its mask back onto the CT's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lung_nodule.errors import InputError
from lung_nodule.io.volume import LPS, Grid, Volume
from nibabel import orientations

MIN_EDGE_MM = 80.0
_MARGIN_MM = 8.0


@dataclass(frozen=True, eq=False)
class Voi:
    """A nodule's volume of interest.

    Attributes:
        nodule_id: name of the nodule.
        volume: the cut in HU, float32 ``[x, y, z]`` in canonical LPS order, with its affine.
        box: position of the VOI in the canonical CT.
        center: ``[3]`` fractional voxel index of the nodule's centre in the cut.
    """

    nodule_id: str
    volume: Volume
    box: tuple[slice, slice, slice]
    center: np.ndarray


def voi_edge_mm(patch_mm: float) -> float:
    """Edge of the cube to cut for a patch: it holds the patch and a margin, and at least 80 mm."""
    return max(MIN_EDGE_MM, patch_mm + 2 * _MARGIN_MM)


def cut_voi(ct: Volume, nodule_id: str, center_ras: Sequence[float], *, edge_mm: float) -> Voi:
    """Cut the cube around a centre out of a canonical CT, as far as the CT reaches.

    Args:
        ct: the CT in canonical order (``Volume.canonical()``), in HU.
        nodule_id: name of the nodule, for errors.
        center_ras: centre in world coordinates, RAS, mm.
        edge_mm: edge of the cube.

    Raises:
        InputError: the centre lies outside the CT.
    """
    center, shape = ct.to_index(np.asarray(center_ras, dtype=float)), np.asarray(ct.shape)
    if not _inside(ct, center_ras):
        raise InputError(_outside(ct, nodule_id, center_ras))
    half = edge_mm / 2 / ct.spacing
    low = np.maximum(np.floor(center - half), 0).astype(int)
    high = np.minimum(np.ceil(center + half) + 1, shape).astype(int)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    box = (x, y, z)
    cut = ct.crop(box)
    return Voi(nodule_id, Volume(np.ascontiguousarray(cut.data, dtype=np.float32), cut.affine), box, center - low)


def _inside(ct: Volume, ras: Sequence[float]) -> bool:
    index = ct.to_index(np.asarray(ras, dtype=float))
    return bool((index >= -0.5).all() and (index <= np.asarray(ct.shape) - 0.5).all())


def _outside(ct: Volume, nodule_id: str, ras: Sequence[float]) -> str:
    """Message with the positions of the centre and of the CT, and whether the centre would fit as LPS."""
    corners = ct.to_world(np.array([[-0.5] * 3, np.asarray(ct.shape) - 0.5]))
    given = ", ".join(f"{value:.1f}" for value in ras)
    reach = ", ".join(f"{low:.0f}..{high:.0f}" for low, high in np.sort(corners, axis=0).T)
    turned = _inside(ct, (-ras[0], -ras[1], ras[2]))
    advice = "with x and y negated it lies inside: are these LPS coordinates? RAS is (-x, -y, z)"
    return f"nodule {nodule_id}: the centre ({given}) mm RAS lies outside the CT ({reach}); " + (
        advice if turned else "does the table belong to this CT?"
    )


def canonical_shape(grid: Grid) -> tuple[int, int, int]:
    """Shape of the canonical volume (``Volume.canonical()``) of a grid."""
    axes = _from_canonical(grid)[:, 0].astype(int)
    x, y, z = (int(grid.shape[axis]) for axis in axes)
    return x, y, z


def paste(values: np.ndarray, box: tuple[slice, slice, slice], grid: Grid) -> Volume:
    """A VOI's values on the CT's own grid: the canonical flips undone, 0 everywhere else.

    Args:
        values: array of the box's shape.
        box: position of the VOI in the canonical CT.
        grid: grid of the CT as it was read.
    """
    whole = np.zeros(canonical_shape(grid), dtype=values.dtype)
    whole[box] = values
    return Volume(orientations.apply_orientation(whole, _from_canonical(grid)), grid.affine)


def _from_canonical(grid: Grid) -> np.ndarray:
    """nibabel's orientation transform from canonical order to the grid's own."""
    return orientations.ornt_transform(orientations.axcodes2ornt(tuple(LPS)), orientations.io_orientation(grid.affine))
