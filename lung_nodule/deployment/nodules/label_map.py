"""Nodule centres and diameters from the connected components of a label map."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from lung_nodule.core import size_of
from lung_nodule.errors import InputError
from lung_nodule.io import CENTER, Volume, as_file_names
from scipy.ndimage import find_objects, label

logger = logging.getLogger(__name__)

DIAMETER, TRACKING = "diameter_mm", "tracking_uid"
"""Columns of a nodule source besides name and centre."""
TOUCHING = np.ones((3, 3, 3), dtype=bool)


def from_label_map(labels: Volume, path: str | Path) -> pd.DataFrame:
    """One row per connected component of every label, the largest first: centre of mass and largest axial diameter.

    Args:
        labels: label map of integers; 0 is background.
        path: path for error messages.

    Raises:
        InputError: the map does not have three axes, a value is not an integer, or all are 0.
    """
    labels = labels.spatial()
    values = np.asarray(labels.data)
    if values.ndim != 3:
        raise InputError(f"a label map has three axes, {path} has shape {list(values.shape)}")
    whole = np.rint(values).astype(np.int64)
    if not np.array_equal(whole, values) or whole.min() < 0:
        raise InputError(f"{path} is not a label map: voxels must be integers, 0 for background")
    names, rows = [], []
    for number, box in enumerate(find_objects(whole), start=1):
        parts = [] if box is None else _parts_of_label(Volume(whole, labels.affine).crop(box), number)
        if len(parts) > 1:
            logger.info(
                "%s: label %d has %d separate components; each is treated as a nodule", path, number, len(parts)
            )
        names += [f"nodule_{number}"] * len(parts)
        rows += parts
    if not rows:
        raise InputError(f"{path} holds no label above 0, so no nodule")
    return pd.DataFrame(rows).assign(nodule_id=as_file_names(names, otherwise="nodule"))


def _parts_of_label(cropped: Volume, number: int) -> list[dict[str, float]]:
    return parts_of(Volume(cropped.data == number, cropped.affine))


def parts_of(mask: Volume) -> list[dict[str, float]]:
    """Rows of :func:`measure_labels` for the 26-connected components of a mask, the largest first."""
    numbered = np.zeros(mask.data.shape, dtype=np.int32)
    label(mask.data, TOUCHING, output=numbered)
    return sorted(measure_labels(Volume(numbered, mask.affine)).values(), key=lambda part: part[DIAMETER], reverse=True)


def measure_labels(labels: Volume) -> dict[int, dict[str, float]]:
    """Measure the centre of mass (RAS, mm) and largest axial diameter (mm) of every label above 0, by column name.

    Args:
        labels: integers ``[x, y, z]``, in any orientation.
    """
    canonical = labels.canonical()
    boxes = enumerate(find_objects(canonical.data), start=1)
    return {label: _row(canonical, label, box) for label, box in boxes if box is not None}


def _row(labels: Volume, label: int, box: tuple[slice, ...]) -> dict[str, float]:
    mask = labels.data[box] == label
    low = np.array([part.start for part in box])
    center = labels.to_world(np.argwhere(mask).mean(axis=0) + low)
    return {
        **dict(zip(CENTER, center.tolist(), strict=True)),
        DIAMETER: size_of(mask, labels.spacing).axial_diameter_mm,
    }
