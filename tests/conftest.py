"""Fixtures that several packages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.bundle_tools.painted_dataset import write_dataset

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 20 painted balls of 10 patients, in every bundle's layout."""
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="session")
def lidc_vois() -> Path:
    """Real LIDC-IDRI VOIs, where they are."""
    if not (SHARED / "lidc_vois" / "nodules.csv").is_file():
        pytest.skip("no real LIDC-IDRI VOIs at ../shared/data/lidc_vois")
    return SHARED / "lidc_vois"
