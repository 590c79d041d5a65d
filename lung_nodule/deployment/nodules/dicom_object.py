"""Nodule centres from a DICOM segmentation or structured report of a CT series."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pydicom
from lung_nodule.deployment.dicom.library import reading
from lung_nodule.deployment.nodules.segmentation import from_segmentation
from lung_nodule.deployment.nodules.structured_report import from_report
from lung_nodule.errors import InputError
from lung_nodule.io import Series
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage, SegmentationStorage

SEGMENTATIONS = (SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7")
"""The second, Label Map Segmentation Storage, is not among the UIDs that pydicom 3.0 names."""
REPORTS = (EnhancedSRStorage, ComprehensiveSRStorage, Comprehensive3DSRStorage)


def from_dicom(path: Path, series: Series) -> pd.DataFrame:
    """``nodule_id``, centre (RAS, mm) and, if known, ``diameter_mm`` of the nodules of a segmentation or report.

    Args:
        path: DICOM segmentation, or structured report of template TID 1500.
        series: CT series.

    Raises:
        InputError: the file is another kind of DICOM object, does not refer to the series or its frame of reference,
            or holds no nodule.
    """
    with reading(path):
        kind = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]).SOPClassUID
        if kind in SEGMENTATIONS:
            return from_segmentation(path, series)
        if kind in REPORTS:
            return from_report(path, series)
    raise InputError(f"{path} is a {kind.name}: give a DICOM segmentation or a structured report (TID 1500)")
