"""From readers' contours to voxel masks: each reader's own, their consensus and their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.path import Path as Polygon

from lung_nodule.lidc import votes_needed
from preprocessing.lidc.records import AnnotationRecord, ContourRecord, NoduleRecord

SliceOf = Callable[[float], int]  # z in mm -> index of the slice


def nodule_box(nodule: NoduleRecord, slice_of: SliceOf) -> tuple[slice, slice, slice]:
    """Smallest box (column, row, slice) around every reader's contour points, as slices with start and stop."""
    contours = [contour for annotation in nodule.annotations for contour in annotation.contours]
    points = np.concatenate([contour.points for contour in contours])
    indices = [slice_of(contour.z) for contour in contours]
    lower = [*points.min(axis=0).astype(int), min(indices)]
    upper = [*points.max(axis=0).astype(int), max(indices)]
    x, y, z = (slice(int(a), int(b) + 1) for a, b in zip(lower, upper, strict=True))
    return x, y, z


def reader_mask(annotation: AnnotationRecord, box: tuple[slice, slice, slice], slice_of: SliceOf) -> np.ndarray:
    """One reader's nodule inside a box, by pylidc's ``boolean_mask`` rule.

    A voxel belongs to the nodule where its centre lies inside an inclusion contour and inside no exclusion contour. The
    contours' own points are excluded, as LIDC's readers marked the first voxels outside. Contours are drawn in the
    database's order, inclusions first.

    Args:
        annotation: the reader's contours.
        box: (column, row, slice) with start and stop; contains every contour point.
        slice_of: slice index of a contour's z.

    Returns:
        bool [x, y, z] of the box's shape.
    """
    mask = np.zeros([part.stop - part.start for part in box], dtype=bool)
    origin = np.array([box[0].start, box[1].start])
    for included in (True, False):
        for contour in annotation.contours:
            if contour.inclusion == included:
                plane = mask[:, :, slice_of(contour.z) - box[2].start]
                _draw(plane, contour, origin)
    return mask


def consensus(masks: Sequence[np.ndarray] | np.ndarray, *, level: float | str) -> np.ndarray:
    """Voxels that enough of the readers marked.

    Args:
        masks: one bool array per reader, all of one shape.
        level: policy as :func:`lung_nodule.lidc.consensus_policy` takes it.

    Raises:
        ValueError: the policy is unknown.
    """
    return np.sum(masks, axis=0) >= votes_needed(level, len(masks))


def soft_mean(masks: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Share of the readers who marked each voxel, float32 in 0..1, of the masks' shape."""
    return np.mean(masks, axis=0, dtype=np.float32)


def _draw(plane: np.ndarray, contour: ContourRecord, origin: np.ndarray) -> None:
    """Set (inclusion) or clear (exclusion) the pixels of one contour in ``plane`` [x, y], in place."""
    points = contour.points.astype(int) - origin
    lower, upper = points.min(axis=0), points.max(axis=0) + 1
    region = plane[lower[0] : upper[0], lower[1] : upper[1]]
    columns, rows = np.indices(region.shape).reshape(2, -1) + lower[:, None]
    outline = np.vstack([points, points[:1]]) if (points[0] != points[-1]).any() else points
    # Rows first, as in pylidc: the order decides for pixels exactly on an edge.
    inside = Polygon(outline[:, ::-1], closed=True).contains_points(np.c_[rows, columns]).reshape(region.shape)
    region[inside] = contour.inclusion
    plane[points[:, 0], points[:, 1]] = False
