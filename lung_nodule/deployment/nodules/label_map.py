"""Nodules of a label map: the centre and the diameter of every connected part of a label."""

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

DIAMETER = "diameter_mm"
TOUCHING = np.ones((3, 3, 3), dtype=bool)


def from_label_map(labels: Volume, path: str | Path) -> pd.DataFrame:
    """A row per connected part of every label, the largest first: its centre of mass and largest axial diameter.

    Args:
        labels: whole numbers; 0 is no nodule.
        path: for errors.

    Raises:
        InputError: it has not three axes, values are no whole numbers, or all are 0.
    """
    values = np.asarray(labels.data)
    if values.ndim != 3:
        raise InputError(f"a label map has three axes, {path} has shape {list(values.shape)}")
    whole = np.rint(values).astype(np.int64)
    if not np.array_equal(whole, values) or whole.min() < 0:
        raise InputError(f"{path} is no label map: its voxels must be whole numbers, 0 where there is no nodule")
    names, rows = [], []
    for number, box in enumerate(find_objects(whole), start=1):
        parts = [] if box is None else _parts_of_label(Volume(whole, labels.affine).crop(box), number)
        if len(parts) > 1:
            logger.info("%s: label %d has %d parts that do not touch: as many nodules", path, number, len(parts))
        names += [f"nodule_{number}"] * len(parts)
        rows += parts
    if not rows:
        raise InputError(f"{path} holds no label above 0, so no nodule")
    return pd.DataFrame(rows).assign(nodule_id=as_file_names(names, otherwise="nodule"))


def _parts_of_label(cropped: Volume, number: int) -> list[dict[str, float]]:
    return parts_of(Volume(cropped.data == number, cropped.affine))


def parts_of(mask: Volume) -> list[dict[str, float]]:
    """The rows of :func:`labelled` of a mask's parts that do not touch, also not at a corner, the largest first."""
    numbered = np.zeros(mask.data.shape, dtype=np.int32)
    label(mask.data, TOUCHING, output=numbered)
    return sorted(labelled(Volume(numbered, mask.affine)).values(), key=lambda part: part[DIAMETER], reverse=True)


def labelled(labels: Volume) -> dict[int, dict[str, float]]:
    """Centre of mass (RAS, mm) and largest axial diameter (mm) of every label above 0, as columns of a table.

    Args:
        labels: whole numbers ``[x, y, z]``, in any orientation.
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
