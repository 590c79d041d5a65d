"""What a client cuts out of a CT for the server, and how an answer finds its way back onto the CT's own grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nibabel import orientations

from lung_nodule.io import InputError, Volume

MIN_EDGE_MM = 80.0
_MARGIN_MM = 8.0


@dataclass(frozen=True, eq=False)
class Voi:
    """A nodule's volume of interest.

    Attributes:
        nodule_id: name of the nodule.
        volume: the cut in HU, float32 ``[x, y, z]`` in canonical LPS order, with its affine.
        box: where it lies in the canonical CT.
        center: ``[3]`` fractional voxel index of the nodule's centre in the cut.
    """

    nodule_id: str
    volume: Volume
    box: tuple[slice, slice, slice]
    center: np.ndarray


def edge_mm(field_mm: float) -> float:
    """Edge of the cube to cut for a field: it holds the field and a margin, and at least 80 mm."""
    return max(MIN_EDGE_MM, field_mm + 2 * _MARGIN_MM)


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
    if (center < -0.5).any() or (center > shape - 0.5).any():
        given = ", ".join(f"{value:.1f}" for value in center_ras)
        corners = ct.to_world(np.array([[-0.5] * 3, shape - 0.5]))
        reach = ", ".join(f"{low:.0f}..{high:.0f}" for low, high in np.sort(corners, axis=0).T)
        raise InputError(
            f"nodule {nodule_id}: the centre ({given}) mm RAS lies outside the CT ({reach}); "
            "does the table belong to this CT?"
        )
    half = edge_mm / 2 / ct.spacing
    low = np.maximum(np.floor(center - half), 0).astype(int)
    high = np.minimum(np.ceil(center + half) + 1, shape).astype(int)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    cut = ct.crop(box)
    return Voi(nodule_id, Volume(np.ascontiguousarray(cut.data, dtype=np.float32), cut.affine), box, center - low)


def paste(values: np.ndarray, box: tuple[slice, slice, slice], canonical: Volume, original: Volume) -> Volume:
    """A VOI's values on the CT's own grid: the canonical flips undone, 0 everywhere else.

    Args:
        values: array of the box's shape.
        box: where the VOI lies in the canonical CT.
        canonical: the canonical CT.
        original: the CT as it was read.
    """
    whole = np.zeros(canonical.shape, dtype=values.dtype)
    whole[box] = values
    change = orientations.ornt_transform(
        orientations.io_orientation(canonical.affine), orientations.io_orientation(original.affine)
    )
    return Volume(orientations.apply_orientation(whole, change), original.affine)
