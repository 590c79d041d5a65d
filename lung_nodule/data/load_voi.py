"""Read one nodule's volume of interest."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from lung_nodule.core import check_voi
from lung_nodule.errors import InputError
from lung_nodule.io import Volume, read_nifti
from lung_nodule.lidc import consensus_policy, votes_needed
from monai.transforms import Transform


class LoadVOI(Transform):
    """From an item of the datalist to arrays: CT, consensus mask, spacing and centre.

    Adds ``ct`` (HU, int16 ``[X, Y, Z]`` in canonical LPS order), ``mask`` (uint8, same grid), ``spacing`` (mm,
    ``[3]``), ``center`` (fractional voxel index, ``[3]``), ``affine`` (voxel to RAS mm, ``[4, 4]``) and
    ``crop_extent_mm``, the file's extent along z (a baseline, never an input).

    An item that already holds its arrays (a user's CT, cut before) is passed on as it is.

    Args:
        consensus: number of readers that must have marked a voxel, as a policy in the form that
            :func:`lung_nodule.lidc.consensus_policy` takes it; the dataset's own mask when not given.
        with_mask: whether to read the mask (False for inference).

    Raises:
        InputError: no such ``consensus`` policy; files are missing, do not share a grid, or hold an invalid VOI.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from lung_nodule.data import LoadVOI
        >>> from lung_nodule.io import Volume, write_nifti
        >>> hu = np.full((20, 20, 10), -850, np.int16)
        >>> hu[8:12, 8:12, 4:6] = 40
        >>> affine = np.diag([-1.0, -1.0, 2.0, 1.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_nifti(f"{folder}/ct.nii.gz", Volume(hu, affine))
        ...     write_nifti(f"{folder}/mask.nii.gz", Volume(hu > 0, affine))
        ...     item = {"ct": f"{folder}/ct.nii.gz", "mask": f"{folder}/mask.nii.gz"}
        ...     item |= {"center_x_ras": -9.5, "center_y_ras": -9.5, "center_z_ras": 9.0}
        ...     voi = LoadVOI()(item)
        >>> voi["ct"].shape, voi["center"].tolist(), int(voi["mask"].sum())
        ((20, 20, 10), [9.5, 9.5, 4.5], 32)
    """

    def __init__(self, *, consensus: float | str | None = None, with_mask: bool = True) -> None:
        self.consensus = None if consensus is None else _policy(consensus)
        self.with_mask = with_mask

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        if isinstance(data["ct"], np.ndarray):
            return dict(data)
        ct = read_nifti(data["ct"]).canonical()
        center = ct.to_index(np.array([data[f"center_{axis}_ras"] for axis in "xyz"]))
        try:
            check_voi(ct.data, ct.spacing, center)
        except ValueError as error:
            raise InputError(f"{data['ct']}: {error}") from error
        masks = {"mask": self._mask(data, ct)} if self.with_mask else {}
        kept = {key: value for key, value in data.items() if key not in ("mask", "reader_masks")}
        return make_item({**kept, **masks}, ct, center)

    def _mask(self, data: Mapping[Hashable, Any], ct: Volume) -> np.ndarray:
        """uint8, on the CT's grid."""
        if self.consensus is None:
            return (_on_grid(data["mask"], data, ct, axes=3) > 0).astype(np.uint8)
        marked = reader_masks(data, ct)
        return (np.count_nonzero(marked, axis=3) >= votes_needed(self.consensus, marked.shape[3])).astype(np.uint8)


def reader_masks(data: Mapping[Hashable, Any], ct: Volume) -> np.ndarray:
    """The readers' own masks of an item: bool ``[X, Y, Z, readers]``, on the CT's grid.

    Args:
        data: item of the datalist.
        ct: CT of the item in canonical order.

    Raises:
        InputError: the item has none, or the file holds something else.
    """
    path = data.get("reader_masks")
    if path is None:
        raise InputError(f"{data['ct']}: nodules.csv names no masks of the readers (reader_masks), and they are needed")
    return _on_grid(path, data, ct, axes=4) > 0


def _on_grid(path: str, data: Mapping[Hashable, Any], ct: Volume, *, axes: int) -> np.ndarray:
    """The voxels of a mask in canonical order: ``[X, Y, Z]``, or with the readers as the fourth axis."""
    marked = read_nifti(path).canonical()
    if marked.data.ndim != axes:
        raise InputError(f"{path} must have {axes} axes, got shape {list(marked.data.shape)}; convert the scan again")
    if marked.shape != ct.shape or not np.allclose(marked.affine, ct.affine, atol=1e-3):
        raise InputError(f"{path} does not lie on the grid of {data['ct']}; convert the scan again")
    return marked.data


def make_item(data: Mapping[Hashable, Any], ct: Volume, center: np.ndarray) -> dict[Hashable, Any]:
    """An item with the arrays of its VOI (canonical LPS order), as :class:`LoadVOI` describes them."""
    return {
        **data,
        "ct": _as_int16(ct.data),
        "spacing": ct.spacing.astype(np.float32),
        "center": center.astype(np.float32),
        "affine": ct.affine,
        "crop_extent_mm": float(ct.shape[2] * ct.spacing[2]),
    }


def _as_int16(hounsfield: np.ndarray) -> np.ndarray:
    """Fractions are rounded; values beyond int16 (metal in some reconstructions) are clipped, not wrapped around."""
    limits = np.iinfo(np.int16)
    whole = hounsfield if np.issubdtype(hounsfield.dtype, np.integer) else np.rint(hounsfield)
    return np.clip(whole, limits.min, limits.max).astype(np.int16)


def _policy(consensus: float | str) -> float | str:
    try:
        return consensus_policy(consensus)
    except ValueError as error:
        raise InputError(str(error)) from error
