"""Rows of the tables, as far as they follow from the annotations alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lung_nodule.lidc import CHARACTERISTICS
from preprocessing.lidc.records import AnnotationRecord, NoduleRecord

Row = dict[str, Any]

SPACING_COLUMNS = ["slice_thickness_mm", "spacing_x_mm", "spacing_y_mm", "spacing_z_mm"]
ANNOTATION_COLUMNS = ["nodule_id", "annotation_id", "reader", *CHARACTERISTICS, "diameter_mm", "contour_volume_mm3"]


def mean_diameter(annotations: Sequence[AnnotationRecord]) -> float:
    """Mean of the readers' largest in-plane diameters in mm."""
    return round(float(np.mean([annotation.diameter_mm for annotation in annotations])), 3)


def rating_statistics(annotations: Sequence[AnnotationRecord]) -> Row:
    """``<characteristic>_mean`` and ``_median`` over the readers."""
    values = np.array([[annotation.ratings[name] for name in CHARACTERISTICS] for annotation in annotations])
    row: Row = {}
    for name, mean, median in zip(CHARACTERISTICS, values.mean(axis=0), np.median(values, axis=0), strict=True):
        row |= {f"{name}_mean": round(float(mean), 4), f"{name}_median": float(median)}
    return row


def annotation_rows(nodule: NoduleRecord) -> list[Row]:
    """Rows of annotations.csv; ``reader`` is the index in ``_readers.nii.gz``, not the same reader in all nodules.

    ``contour_volume_mm3`` is the volume inside the reader's contours; it is larger than the reader's mask.
    """
    return [
        {
            "nodule_id": nodule.nodule_id,
            "annotation_id": annotation.annotation_id,
            "reader": reader,
            **annotation.ratings,
            "diameter_mm": round(annotation.diameter_mm, 3),
            "contour_volume_mm3": round(annotation.contour_volume_mm3, 2),
        }
        for reader, annotation in enumerate(nodule.annotations)
    ]
