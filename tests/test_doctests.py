"""The examples in the docstrings of the public entry points: each is there and runs as it stands."""

from __future__ import annotations

import doctest
from pydoc import locate

import pytest

ENTRY_POINTS = {
    "lung_nodule.io": ["Volume", "read_series"],
    "lung_nodule.core": ["CubeView", "PlanesView", "SlicesView", "SquareView"],
    "lung_nodule.data": ["LoadVOI"],
    "lung_nodule.deployment.client": ["NoduleClient"],
    "lung_nodule.networks": ["E2EMTL", "MTCNN", "MTMRNet", "MTNet"],
    "lung_nodule.losses": ["EndToEndLoss", "HybridLoss", "MTMRLoss", "MarginRankingLoss", "RankLoss", "ViewLoss"],
    "lung_nodule.evaluation": [
        "FreeResponse",
        "Overlap",
        "PatientBootstrap",
        "bootstrap_interval",
        "classification_metrics",
        "threshold_mask",
    ],
}


@pytest.mark.parametrize("name", [f"{package}.{name}" for package, names in ENTRY_POINTS.items() for name in names])
def test_the_example_runs(name: str) -> None:
    """From an empty namespace, so that a reader can paste it."""
    (example,) = doctest.DocTestFinder(recurse=False).find(locate(name), name, globs={})
    assert example.examples
    said: list[str] = []
    assert doctest.DocTestRunner().run(example, out=said.append).failed == 0, "".join(said)
