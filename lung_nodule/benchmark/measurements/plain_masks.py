"""Masks without a network: threshold at the nodule's centre, region growing, and the readers' own masks."""

from __future__ import annotations

import numpy as np
from lung_nodule.benchmark.measurements.intensity_measurements import border_distance
from lung_nodule.core import central_component
from lung_nodule.lidc import MASK_ABOVE_HU, votes_needed

LUNG_HU = -850.0
SEED_MM, OPENING_MM = 2.0, 1.5


def threshold_at_center(ct: np.ndarray, center: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Component above -400 HU at the centre, bool of the VOI's shape.

    Args:
        ct: ``[X, Y, Z]`` in HU.
        center: ``[3]`` nodule centre as a fractional voxel index.
        spacing: ``[3]`` voxel size in mm.
    """
    return _at_center(ct > MASK_ABOVE_HU, center, spacing)


def region_grown(ct: np.ndarray, center: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Region grown from the centre over voxels nearer to its HU than to lung, followed by an opening.

    The opening of 1.5 mm removes vessels; a nodule that it would remove completely is kept as grown.
    Arguments and result as in :func:`threshold_at_center`.
    """
    distance = np.linalg.norm((np.indices(ct.shape).T - center) * spacing, axis=-1).T
    seed = float(np.median(ct[distance <= max(SEED_MM, distance.min())]))
    grown = _at_center(ct > max((seed + LUNG_HU) / 2, LUNG_HU + 100), center, spacing)
    padded = np.pad(grown, 1, mode="edge")
    core = border_distance(padded, spacing) > OPENING_MM
    if not core.any() or padded.all():
        return grown
    opened = (border_distance(~core, spacing) <= OPENING_MM)[1:-1, 1:-1, 1:-1] & grown
    return _at_center(opened, center, spacing)


def against_the_others(readers: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each reader's mask with the consensus (at least half) of the others; empty for a single reader.

    Args:
        readers: bool ``[X, Y, Z, readers]``.
    """
    count = readers.shape[3]
    if count < 2:
        return []
    votes, needed = readers.sum(axis=3), votes_needed(0.5, count - 1)
    return [(readers[..., reader], votes - readers[..., reader] >= needed) for reader in range(count)]


def _at_center(mask: np.ndarray, center: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    nearest = np.clip(np.rint(center).astype(int), 0, np.array(mask.shape) - 1)
    x, y, z = nearest.tolist()
    return central_component(mask, (x, y, z), tuple(np.asarray(spacing, dtype=float)))
