"""Write the nodules' masks as a DICOM segmentation, one segment per nodule."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import highdicom
import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from lung_nodule import __version__
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.findings import Finding
from lung_nodule.io import Series, paste
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

MANUFACTURER = "lung_nodule"
LONGEST = 64
"""Maximum length of a DICOM long string (LO)."""
_SERIES_NUMBER = 9001
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class _Segment:
    """A nodule's mask on the source slices.

    Attributes:
        finding: finding of the nodule.
        slices: int ``[n]``, indices of the source slices with the mask, ascending.
        frames: bool ``[n, row, column]``, mask on these slices.
    """

    finding: Finding
    slices: np.ndarray
    frames: np.ndarray


def segmentation_of(
    findings: Sequence[Finding], series: Series, sources: Sequence[pydicom.Dataset], served: ServedModel, *, note: str
) -> Segmentation | None:
    """Create a binary segmentation that refers to the source slices; segments may overlap.

    Each source slice gets the nearest plane of the volume. Without interpolated planes these are the same.

    Args:
        findings: findings; those without a mask get no segment.
        series: source series; the masks are in the canonical order of its volume.
        sources: headers of the slices, in ascending order along the normal.
        served: served model.
        note: note for the series description.

    Returns:
        The segmentation; None if no nodule has a mask.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: highdicom cannot use the headers.
    """
    planes = _planes(series, sources)
    segments = [segment for finding in findings if (segment := _segment(finding, series, planes)) is not None]
    if not segments:
        return None
    used = np.unique(np.concatenate([segment.slices for segment in segments]))
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=served.name[:LONGEST], version=model_version(served), family=codes.DCM.ArtificialIntelligence
    )
    return Segmentation(
        source_images=[sources[number] for number in used],
        pixel_array=_pixels(segments, used),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _description(number, segment.finding, series, algorithm) for number, segment in enumerate(segments, start=1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=served.name[:LONGEST],
        software_versions=__version__,
        device_serial_number=__version__,
        content_label="NODULES",
        content_description=f"Lung nodules, {note}",
        series_description=f"Lung nodules, masks, {note}",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
    )


def model_version(served: ServedModel) -> str:
    """Version of the served model's weights, as a DICOM long string."""
    return served.version[:LONGEST] or "unknown"


def tracking_uid(finding: Finding, series: Series) -> str:
    """Tracking UID of a nodule, the same in the segmentation, the report and later runs on the same series.

    It is that of the DICOM object that named the nodule, or else made from the nodule's id and centre, rounded as
    single precision numbers are, which a report holds.
    """
    if finding.tracking_uid:
        return finding.tracking_uid
    place = ",".join(f"{value:.1f}" for value in np.asarray(finding.center_ras, dtype=np.float32).tolist())
    return str(
        highdicom.UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{series.series_uid}/{finding.nodule_id}/{place}")))
    )


def _planes(series: Series, sources: Sequence[pydicom.Dataset]) -> np.ndarray:
    """int ``[slices]``, index of the volume's plane nearest to each source slice."""
    corners = np.array([source.ImagePositionPatient for source in sources], dtype=np.float64) * _LPS_TO_RAS
    planes = np.rint(series.volume.to_index(corners)[:, 2]).astype(int)
    return planes.clip(0, series.volume.shape[2] - 1)


def _segment(finding: Finding, series: Series, planes: np.ndarray) -> _Segment | None:
    if finding.mask is None:
        return None
    mask = paste(finding.mask, finding.voi.box, series.volume.grid).data
    slices = np.flatnonzero(mask.any(axis=(0, 1))[planes])
    return _Segment(finding, slices, mask[:, :, planes[slices]].transpose(2, 1, 0)) if len(slices) else None


def _pixels(segments: Sequence[_Segment], used: np.ndarray) -> np.ndarray:
    """uint8 ``[slice, row, column, segment]``; a label map ``[slice, row, column]`` if no segments overlap."""
    shape = (len(used), *segments[0].frames.shape[1:])
    labels, overlap = np.zeros(shape, dtype=np.uint16), False
    for number, segment in enumerate(segments, start=1):
        at = np.searchsorted(used, segment.slices)
        overlap = overlap or bool(labels[at][segment.frames].any())
        labels[at] = np.where(segment.frames, np.uint16(number), labels[at])
    if not overlap:
        return labels
    pixels = np.zeros((*shape, len(segments)), dtype=np.uint8)
    for number, segment in enumerate(segments):
        pixels[np.searchsorted(used, segment.slices), :, :, number] = segment.frames
    return pixels


def _description(
    number: int, finding: Finding, series: Series, algorithm: highdicom.AlgorithmIdentificationSequence
) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=finding.nodule_id[:LONGEST],
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Nodule,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid(finding, series),
        tracking_id=finding.nodule_id,
        anatomic_regions=[codes.SCT.Lung],
    )
