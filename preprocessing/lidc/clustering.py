"""Group the annotations of one nodule by pylidc's default rule, on KD-trees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue] # compiled, without types

MOST_READERS = 4
SHRINK, SMALLEST_TOLERANCE = 0.9, 0.1  # pylidc's `factor` and `min_tol`


def cluster(point_sets: Sequence[np.ndarray], *, tolerance: float) -> list[list[int]]:
    """Group annotations whose nearest contour points are within a tolerance.

    As pylidc does, distances are measured in voxel INDICES although the tolerance is the slice thickness in mm, and the
    tolerance shrinks by a tenth while any group holds more than four annotations (until it falls below 0.1).

    Args:
        point_sets: one array [n, 3] of (row, column, slice) indices per annotation.
        tolerance: largest distance that joins two annotations.

    Returns:
        Lists of positions in ``point_sets``, ascending, ordered by their first member.
    """
    if not point_sets:
        return []
    distances = _nearest_distances(point_sets, limit=tolerance)
    labels = connected_components(distances <= tolerance, directed=False)[1]
    while np.bincount(labels).max() > MOST_READERS and tolerance * SHRINK >= SMALLEST_TOLERANCE:
        tolerance *= SHRINK
        labels = connected_components(distances <= tolerance, directed=False)[1]
    groups = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    return sorted(groups)


def _nearest_distances(point_sets: Sequence[np.ndarray], *, limit: float) -> np.ndarray:
    """Smallest distance [n, n] between each pair of point sets; infinite if clearly above ``limit``."""
    count = len(point_sets)
    distances = np.full((count, count), np.inf)
    np.fill_diagonal(distances, 0.0)
    near = np.argwhere(np.triu(_box_gaps(point_sets) <= limit, k=1))
    trees = {at: cKDTree(point_sets[at]) for at in np.unique(near[:, 0])}
    for first, second in near:
        nearest = trees[first].query(point_sets[second], distance_upper_bound=limit + 1)[0].min()
        distances[first, second] = distances[second, first] = nearest
    return distances


def _box_gaps(point_sets: Sequence[np.ndarray]) -> np.ndarray:
    """Largest gap [n, n] along one axis between each pair of bounding boxes: a lower bound of the points' distance."""
    lower = np.array([points.min(axis=0) for points in point_sets])
    upper = np.array([points.max(axis=0) for points in point_sets])
    gaps = lower[:, None] - upper[None, :]
    return np.maximum(gaps, gaps.swapaxes(0, 1)).max(axis=-1)


def canonical_groups(groups: Mapping[str, Iterable[Iterable[int]]]) -> dict[str, list[list[int]]]:
    """The groups in canonical order: scans by series UID, groups by their smallest annotation id, ids ascending."""
    return {uid: sorted(sorted(map(int, group)) for group in groups[uid]) for uid in sorted(groups)}


def groups_hash(groups: Mapping[str, Iterable[Iterable[int]]]) -> str:
    """SHA-256 of the canonical groups as compact JSON."""
    text = json.dumps(canonical_groups(groups), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
