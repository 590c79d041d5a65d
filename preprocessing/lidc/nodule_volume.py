"""A nodule on its scan's grid: readers' masks, consensus, centre, and the box of its VOI."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lung_nodule.errors import InputError
from lung_nodule.io import Series, Volume
from preprocessing.lidc.masks import SliceOf, consensus, nodule_box, reader_mask, soft_mean
from preprocessing.lidc.records import NoduleRecord

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class NoduleVolume:
    """A nodule's masks in the tight box around all of its readers' contours.

    Attributes:
        nodule: record of the nodule in the database.
        box: tight box on the scan's grid, [x, y, z] slices with start and stop.
        readers: bool [x, y, z, reader], in the order of the annotations' ids.
        mask: bool [x, y, z], the consensus.
        center_index: float [3], centroid of the consensus mask as voxel index of the scan.
    """

    nodule: NoduleRecord
    box: Box
    readers: np.ndarray
    mask: np.ndarray
    center_index: np.ndarray

    @property
    def soft(self) -> np.ndarray:
        """Share of the readers who marked each voxel, float32 [x, y, z] in 0..1."""
        return soft_mean(np.moveaxis(self.readers, -1, 0))

    def voi_box(self, volume: Volume, margin_mm: float) -> Box:
        """Box of all voxels whose centres lie within ``margin_mm`` of the nodule's centre along each axis.

        It is cropped to the scan and always contains the tight box.
        """
        reach = margin_mm / volume.spacing
        lower = np.maximum(np.ceil(self.center_index - reach), 0)
        upper = np.minimum(np.floor(self.center_index + reach), np.array(volume.shape) - 1)
        x, y, z = (
            slice(min(int(low), tight.start), max(int(high) + 1, tight.stop))
            for low, high, tight in zip(lower, upper, self.box, strict=True)
        )
        return x, y, z

    def place(self, array: np.ndarray, box: Box) -> np.ndarray:
        """An array of the tight box (``mask``, ``readers``, ``soft``) inside a larger box, zero around it.

        Masks become uint8; float32 stays.
        """
        dtype = np.uint8 if array.dtype == bool else array.dtype
        placed = np.zeros([part.stop - part.start for part in box] + list(array.shape[3:]), dtype=dtype)
        inside = tuple(
            slice(tight.start - part.start, tight.stop - part.start) for tight, part in zip(self.box, box, strict=True)
        )
        placed[inside] = array
        return placed


def build_nodule(nodule: NoduleRecord, series: Series, *, level: float | str) -> NoduleVolume:
    """Draw a nodule's contours on its scan's grid, without those of neighbouring nodules.

    Contours are drawn on the acquired slices. If the volume was resampled to a uniform grid, each of its z positions
    takes the masks of the nearest slice, and none inside an unmeasured gap.

    Args:
        nodule: record of the nodule in the database.
        series: series of the scan.
        level: consensus policy, see :func:`lung_nodule.lidc.consensus_policy`.

    Raises:
        InputError: a contour lies outside the scan.
    """
    slice_of = _slice_finder(series)
    drawn = nodule_box(nodule, slice_of)
    columns, rows, _ = series.volume.shape
    if any(part.start < 0 or part.stop > size for part, size in zip(drawn[:2], (columns, rows), strict=True)):
        raise InputError(f"contours of {nodule.nodule_id} reach beyond the scan's {columns} x {rows} pixels")
    masks = np.stack([reader_mask(annotation, drawn, slice_of) for annotation in nodule.annotations], axis=-1)
    box, masks = _on_grid(series, drawn, masks)
    readers = np.moveaxis(masks, -1, 0)
    mask = consensus(readers, level=level)
    origin = np.array([part.start for part in box])
    return NoduleVolume(
        nodule=nodule, box=box, readers=masks, mask=mask, center_index=origin + _centroid(mask, readers)
    )


def _on_grid(series: Series, drawn: Box, masks: np.ndarray) -> tuple[Box, np.ndarray]:
    """Masks [x, y, slice, reader] of the slices in ``drawn`` on the volume's z positions, and their box there."""
    nearest = series.grid.nearest
    z = np.flatnonzero((nearest >= drawn[2].start) & (nearest < drawn[2].stop))
    if not len(z):  # marked only on a slice between two grid positions
        middle = float(np.mean(series.slice_positions[drawn[2]]))
        z = np.abs(series.z_positions - middle).argmin(keepdims=True)
        return (*drawn[:2], slice(int(z[0]), int(z[0]) + 1)), masks.any(axis=2, keepdims=True)
    box = (*drawn[:2], slice(int(z[0]), int(z[-1]) + 1))
    placed = np.zeros((*masks.shape[:2], box[2].stop - box[2].start, masks.shape[3]), dtype=bool)
    placed[:, :, z - z[0]] = masks[:, :, nearest[z] - drawn[2].start]
    return box, placed


def _slice_finder(series: Series) -> SliceOf:
    tolerance = 0.1 * series.volume.spacing[2]

    def slice_of(z: float) -> int:
        distance = np.abs(series.slice_positions - z)
        k = int(distance.argmin())
        if distance[k] > tolerance:
            raise InputError(f"a contour at z = {z:g} mm lies on no slice of the series: download the series again")
        return k

    return slice_of


def _centroid(mask: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Mean voxel of the consensus; if it is empty, of the union; if that is empty too, the centre of the box."""
    for candidate in (mask, np.any(masks, axis=0), np.ones_like(mask)):
        if candidate.any():
            return np.argwhere(candidate).mean(axis=0)
    raise AssertionError("a box has at least one voxel")


def label_map(nodules: list[NoduleVolume], shape: tuple[int, int, int]) -> np.ndarray:
    """Instance labels [x, y, z], starting at 1; where nodules overlap the smaller one wins."""
    labels = np.zeros(shape[::-1], dtype=np.uint8 if len(nodules) < 256 else np.uint16).T
    numbered = sorted(enumerate(nodules, start=1), key=lambda item: -int(item[1].mask.sum()))
    for number, nodule in numbered:
        labels[nodule.box][nodule.mask] = number
    return labels
