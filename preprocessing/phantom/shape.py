"""A nodule's shape from its readers' contours: each reader's distance field, and their mean."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lung_nodule.lidc import votes_needed
from preprocessing.lidc.clustering import MOST_READERS
from preprocessing.lidc.masks import reader_mask
from preprocessing.lidc.records import AnnotationRecord, NoduleRecord
from preprocessing.phantom.anatomy import Site
from preprocessing.phantom.grid import Grid

Box = tuple[slice, slice, slice]

MARGIN_MM = 16.0  # room around the contours for the edge and the spicules


def site_of(nodule: NoduleRecord, grid: Grid) -> Site:
    """Centre (mean of the contours' points) and radius (half the readers' mean diameter) of a nodule."""
    contours = [contour for annotation in nodule.annotations for contour in annotation.contours]
    points = np.concatenate([np.c_[grid.to_mm(c.points), np.full(len(c.points), c.z)] for c in contours])
    diameter = np.mean([annotation.diameter_mm for annotation in nodule.annotations])
    return Site(center=points.mean(axis=0), radius=max(float(diameter) / 2, 1.5))


def box_of(nodule: NoduleRecord, grid: Grid) -> Box:
    """Index ranges (z, y, x) around all contours of a nodule, with a margin for the edge and the spicules."""
    contours = [contour for annotation in nodule.annotations for contour in annotation.contours]
    xy = np.concatenate([grid.to_mm(contour.points) for contour in contours])
    z = [contour.z for contour in contours]
    box = grid.box(np.array([*xy.min(axis=0), min(z)]) - MARGIN_MM, np.array([*xy.max(axis=0), max(z)]) + MARGIN_MM)
    assert box is not None, "contours lie on their scan's grid"
    return box


def consensus_field(nodule: NoduleRecord, grid: Grid, box: Box) -> np.ndarray:
    """Distance field of the nodule's surface, positive inside, in mm; float32 over the box [z, y, x].

    It is the average of two fields: the mean of the readers' own fields, which smooths their differences, and the field
    of their consensus mask (half of the readers, or as many as agree anywhere), which keeps small nodules connected.
    """
    masks = [_mask(annotation, grid, box) for annotation in nodule.annotations]
    votes = np.sum(masks, axis=0)
    agreed = votes >= min(votes_needed(0.5, len(masks)), votes.max())
    mean = np.mean([_distance(mask, grid) for mask in masks], axis=0, dtype=np.float32)
    common = _distance(agreed, grid)
    if len(masks) > MOST_READERS:  # marks of several lesions lower the mean: keep the consensus inside
        mean = np.where(agreed, np.maximum(mean, -0.5 * common), mean)
    return 0.5 * (mean + common)


def _mask(annotation: AnnotationRecord, grid: Grid, box: Box) -> np.ndarray:
    """One reader's nodule, bool [z, y, x]; the outline's own pixels if it encloses none."""

    def slice_of(z: float) -> int:
        return int(np.abs(grid.z - z).argmin())

    mask = reader_mask(annotation, (box[2], box[1], box[0]), slice_of).transpose(2, 1, 0)
    if not mask.any():
        for contour in annotation.contours:
            column, row = np.rint(contour.points).astype(int).T
            mask[slice_of(contour.z) - box[0].start, row - box[1].start, column - box[2].start] = True
    return mask


def _distance(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Distance to the mask's surface in mm, positive inside; the surface is half-way between voxel centres."""
    sampling = (grid.spacing_z, grid.pixel_mm, grid.pixel_mm)
    half = grid.pixel_mm / 2
    distance = half - np.asarray(ndimage.distance_transform_edt(~mask, sampling=sampling))
    tight = tuple(slice(max(at.min() - 1, 0), at.max() + 2) for at in np.nonzero(mask))  # holds what is nearest inside
    inner = np.asarray(ndimage.distance_transform_edt(mask[tight], sampling=sampling))
    np.copyto(distance[tight], inner - half, where=mask[tight])
    return distance.astype(np.float32)
