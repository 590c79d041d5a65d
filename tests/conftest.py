"""Fixtures that several packages share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci.bundle_tools.painted_dataset import write_dataset
from ci.bundle_tools.painted_scans import write_scans
from preprocessing.candidates import CandidateSettings, Tables, write_candidates
from tests.forked import interpreter, start_server

SHARED = Path(__file__).parents[2] / "shared" / "data"


LONGEST_FIRST = (
    "tests/benchmark/test_whole_benchmark.py",
    "tests/deployment/repository/test_model_repository.py",
    "tests/bundles/",
    "tests/deployment/",
    "tests/preprocessing/",
)
"""What takes minutes; begun last, they would leave the other processes without work.

One file makes the export early, for which the other processes of a run would wait.
"""


def pytest_configure() -> None:
    """One server of forks for all processes of a run."""
    start_server()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """The processes of ``-n`` are forks as well: each would import torch and MONAI once more."""
    for spec in specs:
        spec.python = interpreter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    items.sort(key=lambda item: next((i for i, folder in enumerate(LONGEST_FIRST) if folder in item.nodeid), 9))


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 20 painted balls of 10 patients, in every bundle's layout."""
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="session")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten whole painted CTs of ten patients and folds, with their candidates; eight non-nodules of each have a VOI."""
    dataset = write_scans(tmp_path_factory.mktemp("candidates"))
    tables = Tables(*(dataset / "luna16" / f"{name}.csv" for name in ("candidates", "subsets", "annotations")))
    assert write_candidates(dataset, tables, settings=CandidateSettings(negatives_per_scan=8)) == []
    return dataset


@pytest.fixture(scope="session")
def lidc_vois() -> Path:
    """Real LIDC-IDRI VOIs, where they are."""
    if not (SHARED / "lidc_vois" / "nodules.csv").is_file():
        pytest.skip("no real LIDC-IDRI VOIs at ../shared/data/lidc_vois")
    return SHARED / "lidc_vois"
