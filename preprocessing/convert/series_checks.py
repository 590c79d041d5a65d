"""Whether the files of a scan are those that the readers saw."""

from __future__ import annotations

import math

from lung_nodule.errors import InputError
from lung_nodule.io import Series, SeriesFiles
from preprocessing.dataset.scan_records import is_synthetic
from preprocessing.lidc.records import ScanRecord

MATRIX = (512, 512)
"""Columns and rows of every CT of LIDC-IDRI; a phantom has as many as its contours need, from the same corner."""
SAME_SPACING = 1e-3
"""Relative tolerance; in 369 series, files and database differ by less than 1e-6."""


def require_one_kind(files: SeriesFiles) -> None:
    """Refuse a series of real and synthetic slices, which have the same UIDs.

    Raises:
        InputError: the files are of both kinds.
    """
    pairs = zip(files.paths, files.headers, strict=True)
    kinds = {is_synthetic(str(header.get("Manufacturer", ""))): path for path, header in pairs}
    if len(kinds) > 1:
        raise InputError(f"its files are of a phantom ({kinds[True]}) and real ({kinds[False]}): keep one kind")


def require_pixel_grid(series: Series, scan: ScanRecord) -> None:
    """Refuse slices that were cropped or resampled: the readers' contours are pixels of the original ones.

    Args:
        series: series as it was read.
        scan: record of the database.

    Raises:
        InputError: rows, columns or pixel spacing are not those of the original slices.
    """
    columns, rows, _ = series.volume.shape
    if (columns, rows) != MATRIX and not is_synthetic(series.manufacturer):
        raise InputError(
            f"slices of {columns} x {rows} pixels, the original ones have {MATRIX[0]} x {MATRIX[1]}, in which the "
            "readers drew: download the series again"
        )
    spacing = series.volume.spacing[:2]
    if not all(math.isclose(value, scan.pixel_spacing_mm, rel_tol=SAME_SPACING) for value in spacing):
        raise InputError(
            f"pixels of {spacing[0]:g} x {spacing[1]:g} mm, the original ones have {scan.pixel_spacing_mm:g} mm, in "
            "which the readers drew: download the series again"
        )
