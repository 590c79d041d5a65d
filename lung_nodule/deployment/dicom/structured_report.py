"""Write the nodules' measurements as a DICOM structured report of template TID 1500."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import highdicom
import numpy as np
import pydicom
from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.seg import Segmentation
from lung_nodule import __version__
from lung_nodule.deployment.answers import PANEL, TITLES, Answer, ServedModel
from lung_nodule.deployment.dicom.segmentation import LONGEST, MANUFACTURER, model_version, tracking_uid
from lung_nodule.deployment.findings import Finding
from lung_nodule.io import Series
from lung_nodule.lidc import HIGHEST_RATING
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

SCHEME = "99LUNGNODULE"
"""Private coding scheme for concepts missing in the standard: the readers' scales and the names of methods."""
_METHODS = {**TITLES, PANEL: "Mean of the methods"}
_CT_PROCEDURE = codes.LN.CTUnspecifiedBodyRegion
_PROBABILITY_OF_CANCER = codes.DCM.ProbabilityOfCancer
_DECIMALS = 6
_SERIES_NUMBER = 9002
_LONGEST_CODE = 16
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


def report_of(
    findings: Sequence[Finding],
    series: Series,
    sources: Sequence[pydicom.Dataset],
    segmentation: Segmentation | None,
    served: ServedModel,
    *,
    note: str,
) -> sr.Comprehensive3DSR:
    """Create a report with one measurement group per nodule: centre, size, malignancy and characteristics.

    Args:
        findings: findings.
        series: source series.
        sources: headers of the slices, in ascending order along the normal.
        segmentation: segmentation of the nodules; None for a model without masks.
        served: served model.
        note: note for the series description.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: highdicom cannot use the headers.
    """
    groups = [_group(finding, series, sources, segmentation, served) for finding in findings]
    for group, finding in zip(groups, findings, strict=True):  # TID 1410 and 1501 are extensible: a point is allowed
        group[0].ContentSequence.append(_center(finding, sources[0].FrameOfReferenceUID))
    content = sr.MeasurementReport(
        observation_context=_observer(served),
        procedure_reported=_CT_PROCEDURE,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return sr.Comprehensive3DSR(
        evidence=[*sources, *([] if segmentation is None else [segmentation])],
        content=content[0],
        series_instance_uid=highdicom.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        series_description=f"Lung nodules, measurements, {note}",
        manufacturer_model_name=served.name[:LONGEST],
        software_versions=__version__,
        coding_schemes=[CodingSchemeIdentificationItem(SCHEME, name="lung_nodule", version=__version__)],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
    )


def _observer(served: ServedModel) -> sr.ObservationContext:
    software = uuid.uuid5(uuid.NAMESPACE_OID, f"{MANUFACTURER}/{served.name}/{served.version}/{__version__}")
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=highdicom.UID.from_uuid(str(software)),
        name=f"{MANUFACTURER} {__version__}",
        manufacturer_name=MANUFACTURER,
        model_name=f"{served.name} {model_version(served)}",
    )
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _center(finding: Finding, frame_uid: str) -> sr.Scoord3DContentItem:
    return sr.Scoord3DContentItem(
        name=codes.DCM.Center,
        graphic_type=sr.GraphicTypeValues3D.POINT,
        graphic_data=np.array([finding.center_ras]) * _RAS_TO_LPS,
        frame_of_reference_uid=frame_uid,
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )


def _group(
    finding: Finding,
    series: Series,
    sources: Sequence[pydicom.Dataset],
    segmentation: Segmentation | None,
    served: ServedModel,
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations:
    """Measurement group of the nodule's segment, or of the source slice nearest to its centre."""
    uid = tracking_uid(finding, series)
    common: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(uid=uid, identifier=finding.nodule_id),
        "finding_category": codes.SCT.MorphologicallyAbnormalStructure,
        "finding_type": codes.SCT.Nodule,
        "algorithm_id": sr.AlgorithmIdentification(name=served.name, version=model_version(served)),
        "measurements": [*_sizes(finding), *_malignancy(finding.answer, served), *_characteristics(finding.answer)],
    }
    numbers = [] if segmentation is None else segmentation.get_segment_numbers(tracking_uid=uid)
    if segmentation is None or not numbers:
        nearest = sr.SourceImageForMeasurementGroup.from_source_image(_nearest(finding, sources))
        return sr.MeasurementsAndQualitativeEvaluations(
            **common, finding_sites=[sr.FindingSite(codes.SCT.Lung)], source_images=[nearest]
        )
    segment = sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=numbers[0],
        source_series=sr.SourceSeriesForSegmentation(series.series_uid),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        **common, finding_sites=[sr.FindingSite(codes.SCT.Lung)], referenced_segment=segment
    )


def _nearest(finding: Finding, sources: Sequence[pydicom.Dataset]) -> pydicom.Dataset:
    """Source slice nearest to the nodule's centre."""
    corners = np.array([source.ImagePositionPatient for source in sources], dtype=np.float64)
    along_column, along_row = np.array(sources[0].ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    center = np.array(finding.center_ras) * _RAS_TO_LPS
    return sources[int(np.abs((corners - center) @ np.cross(along_column, along_row)).argmin())]


def _sizes(finding: Finding) -> Iterator[sr.Measurement]:
    size = finding.size
    if size is None:
        return
    yield sr.Measurement(codes.SCT.Volume, size.volume_mm3, codes.UCUM.CubicMillimeter)
    yield sr.Measurement(codes.SCT.LongAxis, size.axial_diameter_mm, codes.UCUM.Millimeter)
    yield sr.Measurement(codes.SCT.ShortAxis, size.axial_short_axis_mm, codes.UCUM.Millimeter)
    mean = round(size.mean_axis_mm, _DECIMALS)
    yield sr.Measurement(codes.SCT.Diameter, mean, codes.UCUM.Millimeter, derivation=codes.SCT.Mean)


def _malignancy(answer: Answer, served: ServedModel) -> Iterator[sr.Measurement]:
    """Probability with minimum and maximum of the model, and for the panel also of each method."""
    scores = {served.name: (answer.malignancy, answer.interval), **answer.methods}
    for name, (score, (low, high)) in scores.items():
        method = _private(name, _METHODS.get(name, name))
        for value, derivation in ((score, None), (low, codes.SCT.Minimum), (high, codes.SCT.Maximum)):
            yield from _percent(_PROBABILITY_OF_CANCER, value, method=method, derivation=derivation)


def _characteristics(answer: Answer) -> Iterator[sr.Measurement]:
    for name, rating in answer.attributes.items():
        words = name.replace("_", " ")
        meaning = f"{words.capitalize()}, readers' scale 1 to {HIGHEST_RATING[name]}"
        yield from _number(_private(name.split("_")[0], meaning), rating)
    for name, probability in answer.high.items():
        meaning = f"Probability of high {name.replace('_', ' ')}"
        yield from _percent(_private(f"p_{name.split('_')[0]}", meaning), probability)


def _percent(
    name: Code, probability: float, *, method: Code | None = None, derivation: Code | None = None
) -> Iterator[sr.Measurement]:
    """A probability as 0 to 100 %, as PS3.16 measures (111047, DCM, "Probability of cancer") in TID 4005."""
    yield from _number(name, 100 * probability, unit=codes.UCUM.Percent, method=method, derivation=derivation)


def _number(
    name: Code,
    value: float,
    *,
    unit: Code = codes.UCUM.NoUnits,
    method: Code | None = None,
    derivation: Code | None = None,
) -> Iterator[sr.Measurement]:
    """Measurement with its unit; nothing if the value is not finite."""
    if math.isfinite(value):
        yield sr.Measurement(name, round(float(value), _DECIMALS), unit, method=method, derivation=derivation)


def _private(value: str, meaning: str) -> Code:
    return Code(value.upper()[:_LONGEST_CODE], SCHEME, meaning[:LONGEST])
