"""What is measured of every nodule once, without a network: its radiomics, and Dice of masks that need none."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.benchmark.intensity_measurements import histogram_measurements, margin_measurements
from lung_nodule.benchmark.plain_masks import against_the_others, region_grown, threshold_at_center
from lung_nodule.benchmark.shape import shape_measurements
from lung_nodule.benchmark.texture import texture_measurements
from lung_nodule.core import measure
from lung_nodule.errors import InputError
from lung_nodule.io import read_nifti, read_table, write_table
from lung_nodule.io.progress_bar import progress

logger = logging.getLogger(__name__)

VERSION = 1
"""Counted up with every change of a measurement: earlier tables of an output folder are then measured again."""
PREFIX = "radiomics_"


def radiomics(ct: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> dict[str, float]:
    """About fifty measurements of a nodule: shape, HU histogram, margin, radial profile, texture.

    Args:
        ct: ``[X, Y, Z]`` in HU.
        mask: bool, the same grid, not empty.
        spacing: ``[3]`` voxel size in mm.
    """
    return {
        **shape_measurements(mask, spacing),
        **histogram_measurements(ct[mask]),
        **margin_measurements(ct, mask, spacing),
        **texture_measurements(ct, mask),
    }


def measure_nodule(item: Mapping[str, Any]) -> dict[str, Any]:
    """A nodule's row.

    ``crop_extent_mm``; ``threshold_dice``, ``region_dice`` and ``reader<i>_dice`` of masks that need no network;
    ``true_<name>`` of :func:`lung_nodule.core.measure` and ``radiomics_<name>``, both on the readers' consensus mask.

    Args:
        item: of :func:`lung_nodule.data.nodule_datalist`.

    Raises:
        InputError: a file is missing or unreadable, or its mask is empty.
    """
    volume = read_nifti(item["ct"]).canonical()
    ct, spacing = volume.data, volume.spacing
    mask = read_nifti(item["mask"]).canonical().data > 0
    if not mask.any():
        raise InputError(f"{item['mask']} is empty: convert the scan again")
    center = volume.to_index(np.array([item[f"center_{axis}_ras"] for axis in "xyz"]))
    readers = read_nifti(item["reader_masks"]).canonical().data > 0
    plain = {
        "threshold_dice": threshold_at_center(ct, center, spacing),
        "region_dice": region_grown(ct, center, spacing),
    }
    return {
        "nodule_id": item["nodule_id"],
        "crop_extent_mm": float(ct.shape[2] * spacing[2]),
        **{name: dice(found, mask) for name, found in plain.items()},
        **{f"reader{i}_dice": dice(own, rest) for i, (own, rest) in enumerate(against_the_others(readers))},
        **{f"true_{name}": value for name, value in measure(ct, mask, spacing).items()},
        **{f"{PREFIX}{name}": value for name, value in radiomics(ct, mask, spacing).items()},
    }


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """Overlap of two masks; NaN where both are empty."""
    total = int(mask.sum()) + int(reference.sum())
    return float(2 * (mask & reference).sum() / total) if total else float("nan")


def measured(items: Sequence[Mapping[str, Any]], *, out: Path, fingerprint: str) -> pd.DataFrame:
    """The rows of all nodules, in the order of ``items``; kept in ``out``, so that a later run does not measure again.

    Args:
        items: of :func:`lung_nodule.data.nodule_datalist`.
        out: where ``measurements_<fingerprint>.csv`` lies.
        fingerprint: of the dataset.
    """
    path = out / f"measurements_{fingerprint}_v{VERSION}.csv"
    if path.is_file():
        table = read_table(path, required=["nodule_id"], unique=["nodule_id"]).set_index("nodule_id")
        wanted = [item["nodule_id"] for item in items]
        if set(wanted) <= set(table.index):
            return table.loc[wanted].reset_index()
    rows = []
    with progress(len(items), description="measure nodules", unit="nodule") as step:
        for item in items:
            rows.append(measure_nodule(item))
            step()
    table = pd.DataFrame(rows)
    write_table(path, table)
    return table


def radiomics_columns(table: pd.DataFrame) -> list[str]:
    """The columns of the measurements among those of :func:`measured`."""
    return [str(column) for column in table.columns if str(column).startswith(PREFIX)]
