"""Measurements of every nodule without a network: radiomics and Dice of the baseline masks."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lung_nodule.benchmark.measurements.intensity_measurements import histogram_measurements, margin_measurements
from lung_nodule.benchmark.measurements.plain_masks import against_the_others, region_grown, threshold_at_center
from lung_nodule.benchmark.measurements.shape import shape_measurements
from lung_nodule.benchmark.measurements.texture import texture_measurements
from lung_nodule.core import measure, measure_ball
from lung_nodule.data import LoadVOI
from lung_nodule.data.load_voi import reader_masks
from lung_nodule.io import Volume, read_table, write_table
from lung_nodule.runtime.progress_bar import progress

logger = logging.getLogger(__name__)

VERSION = 5
"""Incremented with every change of a measurement, so that earlier tables are not reused."""
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


def measure_nodule(item: Mapping[Hashable, Any]) -> dict[str, Any]:
    """Measure one nodule and return its row.

    ``crop_extent_mm``; ``threshold_dice``, ``region_dice`` and ``reader<i>_dice`` of masks that need no network;
    ``true_<name>`` of :func:`lung_nodule.core.measure` and ``radiomics_<name>``, both on the readers' consensus mask;
    ``ball_<name>`` of :func:`lung_nodule.core.measure_ball` within the readers' diameter.

    If the consensus mask is empty, the row lacks what is measured on it or against it. Without the readers' own masks
    there is no ``reader<i>_dice``.

    Args:
        item: item of :func:`lung_nodule.data.nodule_datalist`.

    Raises:
        InputError: a file is missing or unreadable, or the masks do not lie on the CT's grid.
    """
    voi = LoadVOI()(item)
    ct, center, mask = voi["ct"], voi["center"].astype(float), voi["mask"] > 0
    spacing = voi["spacing"].astype(float)
    readers = reader_masks(item, Volume(ct, voi["affine"])) if "reader_masks" in item else None
    others = [] if readers is None else against_the_others(readers)
    declared = float(item["diameter_mm"])
    row = {
        "nodule_id": item["nodule_id"],
        "crop_extent_mm": voi["crop_extent_mm"],
        **{f"reader{i}_dice": dice(own, rest) for i, (own, rest) in enumerate(others)},
        **{f"true_{name}": value for name, value in measure(ct, mask, spacing).items()},
        **{f"ball_{name}": value for name, value in measure_ball(ct, spacing, center, declared).items()},
    }
    if not mask.any():
        logger.warning(f"{item['mask']} is empty: the baselines are not compared on this nodule")
        return row
    return {
        **row,
        "threshold_dice": dice(threshold_at_center(ct, center, spacing), mask),
        "region_dice": dice(region_grown(ct, center, spacing), mask),
        **{f"{PREFIX}{name}": value for name, value in radiomics(ct, mask, spacing).items()},
    }


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """Dice of two masks; NaN if both are empty."""
    total = int(mask.sum()) + int(reference.sum())
    return float(2 * (mask & reference).sum() / total) if total else float("nan")


def measure_nodules(items: Sequence[Mapping[Any, Any]], *, out: Path, fingerprint: str) -> pd.DataFrame:
    """Measure all nodules, in the order of ``items``; the table is cached in ``out``.

    Args:
        items: items of :func:`lung_nodule.data.nodule_datalist`.
        out: folder of ``measurements_<fingerprint>_v<VERSION>.csv``.
        fingerprint: fingerprint of the dataset.
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
    """Names of the radiomics columns of a table of :func:`measure_nodules`."""
    return [str(column) for column in table.columns if str(column).startswith(PREFIX)]
