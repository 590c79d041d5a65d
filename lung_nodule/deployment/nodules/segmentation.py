"""Nodules from a DICOM segmentation: every connected part of a segment."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from highdicom.seg import Segmentation, segread
from lung_nodule.deployment.nodules.label_map import parts_of
from lung_nodule.errors import InputError
from lung_nodule.io import LPS_TO_RAS, Series, Volume, as_file_names
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from scipy.ndimage import find_objects

logger = logging.getLogger(__name__)

_ANATOMY = (codes.SCT.AnatomicalStructure, Code("123037004", "SCT", "Anatomical Structure"))
"""Categories of a segment that is no finding: the code of the standard before and after it was changed."""
_INSIDE = 0.5  # of a fractional segmentation


def from_segmentation(path: Path, series: Series) -> pd.DataFrame:
    """A row per connected part of every segment, the largest first, named after the segment's label.

    Segments whose category is Anatomical Structure, such as a lung, are left out.

    Args:
        path: the segmentation; its geometry may differ from the CT's.
        series: the CT.

    Raises:
        InputError: it does not refer to the CT, or no segment is a nodule.
        AttributeError, KeyError, RuntimeError, TypeError, ValueError: highdicom cannot use it.
    """
    segmentation = read_segmentation(path, series)
    names, rows = [], []
    for number in segmentation.segment_numbers:
        described = segmentation.get_segment_description(number)
        anatomy = described.segmented_property_category in _ANATOMY
        mask = None if anatomy else segment_mask(segmentation, number, series)
        if mask is None:
            logger.warning("%s: segment %d (%s) is no nodule", path, number, described.segment_label)
            continue
        parts = parts_of(mask)
        if len(parts) > 1:
            logger.info("%s: segment %d has %d parts that do not touch: as many nodules", path.name, number, len(parts))
        names += [described.segment_label] * len(parts)
        rows += parts
    if not rows:
        raise InputError(f"{path} holds no segment that is a nodule")
    return pd.DataFrame(rows).assign(nodule_id=as_file_names(names, otherwise="nodule"))


def read_segmentation(path: Path, series: Series) -> Segmentation:
    """A segmentation that lies in the CT's frame of reference or, where one of them names none, refers to its series.

    Raises:
        InputError: it does not.
    """
    segmentation = segread(path, lazy_frame_retrieval=True)
    frame = str(segmentation.get("FrameOfReferenceUID", ""))
    referred = [str(item.SeriesInstanceUID) for item in segmentation.get("ReferencedSeriesSequence", [])]
    if frame and series.frame_uid:
        if frame != series.frame_uid:
            raise InputError(
                f"{path} lies in the frame of reference {frame}, the CT series {series.series_uid} in "
                f"{series.frame_uid}: give the CT that was segmented"
            )
    elif series.series_uid not in referred:
        raise InputError(
            f"{path} refers to the series {', '.join(referred) or '(none)'}, not to the CT's {series.series_uid}: give "
            "the CT that was segmented"
        )
    return segmentation


def segment_mask(segmentation: Segmentation, number: int, series: Series) -> Volume | None:
    """A segment's voxels, bool with their affine, cut to its extent; None if it is empty.

    Args:
        segmentation: one that lies on evenly spaced planes, or on slices of the series.
        number: of the segment.
        series: the CT, onto whose grid a segment on slices at uneven distances is laid.
    """
    uneven = not np.array_equal(series.grid.nearest, np.arange(series.grid.slices))
    mask = _on_slices(segmentation, number, series) if uneven else _on_planes(segmentation, number)
    (box,) = find_objects(mask.data.astype(np.uint8)) or [None]
    return None if box is None else mask.crop(box)


def _on_planes(segmentation: Segmentation, number: int) -> Volume:
    """bool ``[slice, row, column]``."""
    volume = segmentation.get_volume(segment_numbers=[number])
    return Volume(volume.array[..., 0] >= _INSIDE, LPS_TO_RAS @ volume.affine)


def _on_slices(segmentation: Segmentation, number: int, series: Series) -> Volume:
    """bool, on the grid of a series: each of its positions has the segment of the nearest slice, if there is one."""
    tags = ["SOPInstanceUID"]
    uids = [str(pydicom.dcmread(path, specific_tags=tags).SOPInstanceUID) for path in series.paths]
    frames = segmentation.get_pixels_by_source_instance(
        uids, segment_numbers=[number], assert_missing_frames_are_empty=True, ignore_spatial_locations=True
    )
    inside = (frames[..., 0] >= _INSIDE)[series.grid.nearest] & series.grid.measured[:, None, None]
    return Volume(np.ascontiguousarray(inside.transpose(2, 1, 0)), series.volume.affine)
