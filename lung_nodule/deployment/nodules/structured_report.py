"""Nodule centres from a DICOM structured report of template TID 1500: one per measurement group with a position."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
from highdicom.seg import Segmentation
from highdicom.spatial import ImageToReferenceTransformer
from lung_nodule.deployment.nodules.label_map import DIAMETER, TRACKING, measure_labels
from lung_nodule.deployment.nodules.segmentation import OtherCtError, read_segmentation, segment_mask
from lung_nodule.errors import InputError
from lung_nodule.io import CENTER, Series, Volume, as_file_names, may_be_image
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

logger = logging.getLogger(__name__)

_TEMPLATE = "1500"
_SEGMENTS = (codes.DCM.ReferencedSegment, codes.DCM.ReferencedSegmentationFrame)
_DIAMETERS = (codes.SCT.LongAxis, codes.SCT.Length, codes.SCT.Diameter)  # in order of preference
_MILLIMETRES = {"mm": 1.0, "cm": 10.0}
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def from_report(path: Path, series: Series) -> pd.DataFrame:
    """One row per nodule, named after its tracking identifier: a measurement group (TID 1410, 1411, 1501), or all
    groups of one tracking UID, such as a nodule's regions on several slices.

    The centre is the middle of the extent of the 3-D coordinates (those named Center, if any), or else the centre of
    the referenced segment, or else the middle of the regions and lines on the CT's slices. The diameter is the long
    axis, length or diameter of a group, the largest of several, or else the segment's. Groups without a position are
    left out, and so are those of another CT, such as a prior, where others are of this one.

    Args:
        path: path of the report; a referenced segmentation must be in the same folder.
        series: CT series.

    Raises:
        InputError: the report is not of TID 1500, every position is in another frame of reference or series, a
            segmentation is missing, or no group has a position.
        AttributeError, KeyError, RuntimeError, TypeError, ValueError: pydicom or highdicom cannot use the file.
    """
    report = _Report(path, series)
    names, rows = [], []
    elsewhere: OtherCtError | None = None
    for groups in report.nodules():
        name, places = report.name(groups[0]), []
        for group in groups:
            try:
                places.append(report.place(group))
            except OtherCtError as error:
                elsewhere = elsewhere or error
                logger.warning("measurement group %s is left out: %s", name or "without a name", error)
        if not places:
            continue
        row = _row(places)
        if row is None:
            logger.warning("%s: measurement group %s has no position and is left out", path, name or "without a name")
            continue
        names.append(name)
        rows.append(row)
    if not rows:
        raise elsewhere or InputError(f"{path} holds no measurement group with a position")
    return pd.DataFrame(rows).assign(nodule_id=as_file_names(names, otherwise="nodule"))


@dataclass(frozen=True)
class _Place:
    """Position of a measurement group: points in space, or else a segment, or else points on slices.

    Attributes:
        in_space: 3-D coordinates, LPS.
        segment: centre and diameter of the referenced segment.
        on_slices: points of what is drawn on slices, LPS.
        diameter_mm: diameter that the group states.
        tracking_uid: tracking unique identifier; empty if missing.
    """

    in_space: list[np.ndarray]
    segment: dict[str, float]
    on_slices: list[np.ndarray]
    diameter_mm: float | None
    tracking_uid: str


def _row(places: Sequence[_Place]) -> dict[str, Any] | None:
    """Centre, diameter and tracking UID of a nodule; None without a position."""
    row: dict[str, Any] = (
        _at(_middle(place.in_space for place in places))
        or next((place.segment for place in places if place.segment), {})
        or _at(_middle(place.on_slices for place in places))
    )
    diameters = [place.diameter_mm for place in places if place.diameter_mm is not None]
    if row and diameters:
        row[DIAMETER] = max(diameters)
    if row and places[0].tracking_uid:
        row[TRACKING] = places[0].tracking_uid
    return row or None


class _Report:
    """A report, the slices of its CT and the segmentations in its folder."""

    def __init__(self, path: Path, series: Series) -> None:
        self.path, self.series = path, series
        self.document = pydicom.dcmread(path)
        template = self.document.get("ContentTemplateSequence") or [Dataset()]
        if template[0].get("TemplateIdentifier") != _TEMPLATE:
            raise InputError(f"{path} is not a measurement report of template TID {_TEMPLATE}")
        self._segmentations: dict[str, Segmentation] = {}

    def nodules(self) -> list[list[Dataset]]:
        """Measurement groups by nodule, in the order of the report."""
        groups = [item for item in _items(self.document) if _is(item, "CONTAINER", codes.DCM.MeasurementGroup)]
        nodules: dict[str, list[Dataset]] = {}
        for number, group in enumerate(groups):
            nodules.setdefault(_tracking_uid(group) or str(number), []).append(group)
        return list(nodules.values())

    @staticmethod
    def name(group: Dataset) -> str:
        """Tracking identifier; empty if missing."""
        found = (item for item in _items(group) if _is(item, "TEXT", codes.DCM.TrackingIdentifier))
        return next((str(item.TextValue) for item in found), "")

    def place(self, group: Dataset) -> _Place:
        """Where a group says that its nodule is.

        Raises:
            OtherCtError: on another CT.
        """
        in_space = self._in_space(group)
        segment = {} if in_space else self._of_segment(group)
        on_slices = [] if in_space or segment else self._on_slices(group)
        return _Place(in_space, segment, on_slices, _diameter(group), _tracking_uid(group))

    def _in_space(self, group: Dataset) -> list[np.ndarray]:
        """3-D coordinates, LPS."""
        found = [item for item in _items(group) if item.ValueType == "SCOORD3D"]
        found = [item for item in found if _concept(item) == codes.DCM.Center] or found
        frames = {str(item.ReferencedFrameOfReferenceUID) for item in found}
        if frames - {self.series.frame_uid}:
            raise OtherCtError(
                f"{self.path}: {self.name(group) or 'a group'} lies in the frame of reference "
                f"{', '.join(sorted(frames))}, the CT in {self.series.frame_uid or 'none that it names'}: give the CT "
                "that was measured"
            )
        return [np.reshape(item.GraphicData, (-1, 3)) for item in found]

    def _of_segment(self, group: Dataset) -> dict[str, float]:
        """Centre and diameter of the referenced segment, or of that of the referenced frame; empty if there is none."""
        for item in _items(group):
            if item.ValueType == "IMAGE" and _concept(item) in _SEGMENTS:
                referred = item.ReferencedSOPSequence[0]
                segmentation = self._segmentation(str(referred.ReferencedSOPInstanceUID))
                mask = segment_mask(segmentation, _segment_number(referred, segmentation), self.series)
                if mask is not None:
                    (row,) = measure_labels(Volume(mask.data.astype(np.uint8), mask.affine)).values()
                    return row
        return {}

    def _on_slices(self, group: Dataset) -> list[np.ndarray]:
        """Points of the regions and lines drawn on slices of the CT, LPS."""
        places = []
        for item in _items(group):
            if item.ValueType != "SCOORD":
                continue
            points = np.reshape(np.asarray(item.GraphicData, dtype=np.float64), (-1, 2))
            points = points[:1] if item.GraphicType == "CIRCLE" else points  # centre and a point on the circle
            images = [image for image in _items(item) if image.ValueType == "IMAGE"]
            for uid in (str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for image in images):
                if uid not in self._slices:
                    raise OtherCtError(
                        f"{self.path}: {self.name(group) or 'a group'} is drawn on the image {uid}, which is not a "
                        f"slice of the CT series {self.series.series_uid}: give the CT that was measured"
                    )
                header = pydicom.dcmread(self._slices[uid], stop_before_pixels=True)
                places.append(ImageToReferenceTransformer.for_image(header)(points))
        return places

    @cached_property
    def _slices(self) -> dict[str, Path]:
        """Files of the CT by SOPInstanceUID."""
        return {uid: path for path in self.series.paths if (uid := _instance_uid(path)) is not None}

    def _segmentation(self, uid: str) -> Segmentation:
        if uid not in self._segmentations:
            beside = [path for path in sorted(self.path.parent.iterdir()) if path.is_file() and may_be_image(path)]
            found = next((path for path in beside if _instance_uid(path) == uid), None)
            if found is None:
                raise InputError(f"{self.path} refers to the segmentation {uid}: put its file into the same folder")
            self._segmentations[uid] = read_segmentation(found, self.series)
        return self._segmentations[uid]


def _items(node: Dataset) -> Iterator[Dataset]:
    """All content items below a node in order, except by-reference items, which have no value type."""
    for item in node.get("ContentSequence", []):
        if "ValueType" in item:
            yield item
            yield from _items(item)


def _is(item: Dataset, value_type: str, concept: Code) -> bool:
    return item.ValueType == value_type and _concept(item) == concept


def _concept(item: Dataset) -> Code | None:
    """Concept name of an item; None if it has none, as coordinates often do."""
    return _code(item, "ConceptNameCodeSequence")


def _code(item: Dataset, attribute: str) -> Code | None:
    found = item.get(attribute)
    if not found:
        return None
    return Code(str(found[0].get("CodeValue", "")), str(found[0].get("CodingSchemeDesignator", "")), "")


def _diameter(group: Dataset) -> float | None:
    """Diameter of a group in mm; None if it has none."""
    for name in _DIAMETERS:
        for item in _items(group):
            if _is(item, "NUM", name) and item.get("MeasuredValueSequence"):
                measured = item.MeasuredValueSequence[0]
                unit = _code(measured, "MeasurementUnitsCodeSequence")
                if unit is not None and unit.value in _MILLIMETRES:
                    return float(measured.NumericValue) * _MILLIMETRES[unit.value]
    return None


def _at(center: np.ndarray | None) -> dict[str, float]:
    """Table columns of a centre in LPS; empty for None."""
    return {} if center is None else dict(zip(CENTER, (center * _LPS_TO_RAS).tolist(), strict=True))


def _middle(of_groups: Iterable[list[np.ndarray]]) -> np.ndarray | None:
    """Middle of the extent of points ``[n, 3]``: the centre of an ellipse, ellipsoid or line; None without points."""
    places = [points for group in of_groups for points in group]
    if not places:
        return None
    points = np.concatenate(places).astype(np.float64)
    return (points.min(axis=0) + points.max(axis=0)) / 2


def _tracking_uid(group: Dataset) -> str:
    """Tracking unique identifier; empty if missing."""
    found = (item for item in _items(group) if _is(item, "UIDREF", codes.DCM.TrackingUniqueIdentifier))
    return next((str(item.UID) for item in found), "")


def _segment_number(referred: Dataset, segmentation: Segmentation) -> int:
    """Number of the segment referred to, directly or by one of its frames."""
    if "ReferencedSegmentNumber" in referred:
        return int(np.atleast_1d(referred.ReferencedSegmentNumber)[0])
    frame = int(np.atleast_1d(referred.ReferencedFrameNumber)[0])
    groups = segmentation.PerFrameFunctionalGroupsSequence[frame - 1]
    return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _instance_uid(path: Path) -> str | None:
    """SOPInstanceUID of a file; None if it is not a DICOM object."""
    try:
        return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    except (InvalidDicomError, AttributeError, EOFError, OSError, ValueError):
        return None
