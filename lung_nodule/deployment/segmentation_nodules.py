"""Nodules from a DICOM segmentation: every connected part of a segment."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from highdicom.seg import Segmentation, segread
from lung_nodule.deployment.labelled_nodules import parts_of
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
        mask = None if described.segmented_property_category in _ANATOMY else segment_mask(segmentation, number)
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


def segment_mask(segmentation: Segmentation, number: int) -> Volume | None:
    """A segment's voxels, bool ``[slice, row, column]`` with their affine, cut to its extent; None if it is empty."""
    volume = segmentation.get_volume(segment_numbers=[number])
    inside = volume.array[..., 0] >= _INSIDE
    (box,) = find_objects(inside.astype(np.uint8)) or [None]
    return None if box is None else Volume(inside, LPS_TO_RAS @ volume.affine).crop(box)
