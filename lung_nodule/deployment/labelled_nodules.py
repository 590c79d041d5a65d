"""Nodules of a label map: the centre and the diameter of every label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from lung_nodule.core import size_of
from lung_nodule.errors import InputError
from lung_nodule.io import CENTER, Volume
from scipy.ndimage import find_objects

DIAMETER = "diameter_mm"


def from_label_map(labels: Volume, path: str | Path) -> pd.DataFrame:
    """A row per label: the centre of mass of its voxels and the largest axial diameter.

    Args:
        labels: whole numbers; 0 is no nodule.
        path: for errors.

    Raises:
        InputError: values are no whole numbers, or all are 0.
    """
    values = np.asarray(labels.data)
    whole = np.rint(values).astype(np.int64)
    if values.ndim != 3 or not np.array_equal(whole, values) or whole.min() < 0:
        raise InputError(f"{path} is no label map: its voxels must be whole numbers, 0 where there is no nodule")
    rows = [{"nodule_id": f"nodule_{label}", **row} for label, row in labelled(Volume(whole, labels.affine)).items()]
    if not rows:
        raise InputError(f"{path} holds no label above 0, so no nodule")
    return pd.DataFrame(rows)


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
