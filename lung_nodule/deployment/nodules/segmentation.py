"""Nodule centres from a DICOM segmentation: one per connected component of a segment."""

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
"""Categories of a segment that is not a finding: former and current code of the standard."""
_INSIDE = 0.5  # threshold of a fractional segmentation


def from_segmentation(path: Path, series: Series) -> pd.DataFrame:
    """One row per connected component of every segment, the largest first, named after the segment label.

    Segments whose category is Anatomical Structure, such as a lung, are left out.

    Args:
        path: path of the segmentation; its geometry may differ from the CT's.
        series: CT series.

    Raises:
        InputError: the segmentation does not refer to the CT, or no segment is a nodule.
        AttributeError, KeyError, RuntimeError, TypeError, ValueError: highdicom cannot use the file.
    """
    segmentation = read_segmentation(path, series)
    names, rows = [], []
    for number in segmentation.segment_numbers:
        described = segmentation.get_segment_description(number)
        anatomy = described.segmented_property_category in _ANATOMY
        mask = None if anatomy else segment_mask(segmentation, number, series)
        if mask is None:
            logger.warning("%s: segment %d (%s) is not a nodule", path, number, described.segment_label)
            continue
        parts = parts_of(mask)
        if len(parts) > 1:
            logger.info(
                "%s: segment %d has %d separate components; each is treated as a nodule", path.name, number, len(parts)
            )
        names += [described.segment_label] * len(parts)
        rows += parts
    if not rows:
        raise InputError(f"{path} holds no segment that is a nodule")
    return pd.DataFrame(rows).assign(nodule_id=as_file_names(names, otherwise="nodule"))


def read_segmentation(path: Path, series: Series) -> Segmentation:
    """Read a segmentation in the CT's frame of reference or, if either lacks one, that refers to its series.

    Raises:
        InputError: the segmentation belongs to another CT.
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
    """Mask of a segment, bool with affine, cropped to its extent; None if it is empty.

    Args:
        segmentation: segmentation on evenly spaced planes, or on slices of the series.
        number: segment number.
        series: CT series; a segment on unevenly spaced slices is resampled to its grid.
    """
    uneven = not np.array_equal(series.grid.nearest, np.arange(series.grid.slices))
    mask = _on_slices(segmentation, number, series) if uneven else _on_planes(segmentation, number)
    (box,) = find_objects(mask.data.astype(np.uint8)) or [None]
    return None if box is None else mask.crop(box)


def _on_planes(segmentation: Segmentation, number: int) -> Volume:
    """Mask on evenly spaced planes, bool ``[slice, row, column]``."""
    volume = segmentation.get_volume(segment_numbers=[number])
    return Volume(volume.array[..., 0] >= _INSIDE, LPS_TO_RAS @ volume.affine)


def _on_slices(segmentation: Segmentation, number: int, series: Series) -> Volume:
    """Mask on the grid of a series, bool: each position takes the nearest slice, if any."""
    tags = ["SOPInstanceUID"]
    uids = [str(pydicom.dcmread(path, specific_tags=tags).SOPInstanceUID) for path in series.paths]
    frames = segmentation.get_pixels_by_source_instance(
        uids, segment_numbers=[number], assert_missing_frames_are_empty=True, ignore_spatial_locations=True
    )
    inside = (frames[..., 0] >= _INSIDE)[series.grid.nearest] & series.grid.measured[:, None, None]
    return Volume(np.ascontiguousarray(inside.transpose(2, 1, 0)), series.volume.affine)
