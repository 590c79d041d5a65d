"""Nodule centres from a DICOM segmentation: one per connected component of a segment."""

from __future__ import annotations

import logging
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from highdicom.seg import Segmentation, segread
from lung_nodule.deployment.nodules.label_map import TRACKING, parts_of
from lung_nodule.errors import InputError
from lung_nodule.io import LPS_TO_RAS, Series, Volume, as_file_names
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from scipy.ndimage import find_objects

logger = logging.getLogger(__name__)

_ANATOMY = (codes.SCT.AnatomicalStructure, Code("123037004", "SCT", "Anatomical Structure"))
"""Categories of a segment that is not a finding: former and current code of the standard."""
_INSIDE = 0.5  # threshold of a fractional segmentation
_SAME_AXES_MM = 0.02  # a pixel; rounded directions and spacings differ by less


def from_segmentation(path: Path, series: Series) -> pd.DataFrame:
    """One row per connected component of every segment, the largest first, named after the segment label.

    A segment of one component keeps its tracking UID.

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
    uids = Counter(str(item.get("TrackingUID", "")) for item in segmentation.SegmentSequence)
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
        uid = str(described.get("TrackingUID", ""))
        own = uid if len(parts) == uids[uid] == 1 else ""
        names += [described.segment_label] * len(parts)
        rows += [part | {TRACKING: own} for part in parts]
    if not rows:
        raise InputError(f"{path} holds no segment that is a nodule")
    return pd.DataFrame(rows).assign(nodule_id=as_file_names(names, otherwise="nodule"))


class OtherCtError(InputError):
    """A DICOM object, or a part of it, belongs to another CT."""


def read_segmentation(path: Path, series: Series) -> Segmentation:
    """Read a segmentation in the CT's frame of reference or, if either lacks one, that refers to its series.

    Raises:
        OtherCtError: the segmentation belongs to another CT.
    """
    segmentation = segread(path, lazy_frame_retrieval=True)
    frame = str(segmentation.get("FrameOfReferenceUID", ""))
    referred = [str(item.SeriesInstanceUID) for item in segmentation.get("ReferencedSeriesSequence", [])]
    if frame and series.frame_uid:
        if frame != series.frame_uid:
            raise OtherCtError(
                f"{path} lies in the frame of reference {frame}, the CT series {series.series_uid} in "
                f"{series.frame_uid}: give the CT that was segmented"
            )
    elif series.series_uid not in referred:
        raise OtherCtError(
            f"{path} refers to the series {', '.join(referred) or '(none)'}, not to the CT's {series.series_uid}: give "
            "the CT that was segmented"
        )
    return segmentation


def segment_mask(segmentation: Segmentation, number: int, series: Series) -> Volume | None:
    """Mask of a segment, bool with affine, cropped to its extent; None if it is empty.

    Args:
        segmentation: segmentation on evenly spaced planes, or on slices of the series.
        number: segment number.
        series: CT series; a segment on its slices, if they are not evenly spaced, is resampled to its grid.
    """
    mask = _mask(segmentation, number, series)
    (box,) = find_objects(mask.data.astype(np.uint8)) or [None]
    return None if box is None else mask.crop(box)


def _mask(segmentation: Segmentation, number: int, series: Series) -> Volume:
    """Mask in the segmentation's own geometry, or by slices of the CT where its planes have no regular distance."""
    if not series.grid.is_slices and _is_on_slices(segmentation, series):
        return _on_slices(segmentation, number, series)
    try:
        return _on_planes(segmentation, number)
    except (RuntimeError, ValueError):
        if not _is_on_slices(segmentation, series):
            raise
        return _on_slices(segmentation, number, series)


def _is_on_slices(segmentation: Segmentation, series: Series) -> bool:
    """Whether all frames lie on slices of the series, pixel by pixel."""
    return _has_pixel_grid(segmentation, series) and _sources(segmentation) <= set(_instance_uids(series.paths))


def _on_planes(segmentation: Segmentation, number: int) -> Volume:
    """Mask on evenly spaced planes, bool ``[slice, row, column]``."""
    volume = segmentation.get_volume(segment_numbers=[number])
    return Volume(volume.array[..., 0] >= _INSIDE, LPS_TO_RAS @ volume.affine)


def _on_slices(segmentation: Segmentation, number: int, series: Series) -> Volume:
    """Mask on the grid of a series, bool: each position takes the nearest slice, if any."""
    frames = segmentation.get_pixels_by_source_instance(
        list(_instance_uids(series.paths)),
        segment_numbers=[number],
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,
    )
    inside = (frames[..., 0] >= _INSIDE)[series.grid.nearest] & series.grid.measured[:, None, None]
    return Volume(np.ascontiguousarray(inside.transpose(2, 1, 0)), series.volume.affine)


@lru_cache(maxsize=1)
def _instance_uids(paths: tuple[Path, ...]) -> tuple[str, ...]:
    """SOPInstanceUID of every slice; read once for all segments."""
    tags = ["SOPInstanceUID"]
    return tuple(str(pydicom.dcmread(path, specific_tags=tags).SOPInstanceUID) for path in paths)


def _sources(segmentation: Segmentation) -> set[str]:
    """Instances that the frames refer to; an empty text, which is no instance's UID, where they refer to none."""
    try:
        return {str(instance) for _, _, instance in segmentation.get_source_image_uids()} or {""}
    except (AttributeError, RuntimeError, ValueError):
        return {""}


def _has_pixel_grid(segmentation: Segmentation, series: Series) -> bool:
    """Whether rows, columns, pixel spacing and orientation are those of the series, up to rounding."""
    columns, rows = series.volume.shape[:2]
    axes = (LPS_TO_RAS @ series.volume.affine)[:3, :2]
    measures = _shared(segmentation, "PixelMeasuresSequence")
    orientation = _shared(segmentation, "PlaneOrientationSequence")
    if measures is None or orientation is None or (segmentation.Rows, segmentation.Columns) != (rows, columns):
        return False
    spacing = np.array(measures.PixelSpacing, dtype=np.float64)[::-1]
    directions = np.array(orientation.ImageOrientationPatient, dtype=np.float64).reshape(2, 3).T
    return bool(np.allclose(directions * spacing, axes, rtol=0, atol=_SAME_AXES_MM))


def _shared(segmentation: Segmentation, name: str) -> Dataset | None:
    """First item of a functional group, shared by all frames or of the first frame; None if there is none."""
    groups = (*segmentation.SharedFunctionalGroupsSequence, *segmentation.PerFrameFunctionalGroupsSequence[:1])
    return next((group[name][0] for group in groups if group.get(name)), None)
