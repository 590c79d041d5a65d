"""A cheap DICOM series with the real geometry of a small scan, and conversions made from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from preprocessing.convert import convert
from preprocessing.dataset import ConversionSettings
from preprocessing.lidc import database
from preprocessing.lidc.records import ScanRecord
from tests.io.dicom_series import UNTILTED, SeriesPlan, write_series
from tests.preprocessing.forked import process_pool

SMALL = "LIDC-IDRI-0078"
SEVERAL = [SMALL, "LIDC-IDRI-0098", "LIDC-IDRI-0104"]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


VOLUME_COLUMN = {"nodules": "volume_mm3", "annotations": "contour_volume_mm3"}


def published_table(lidc_vois: Path, name: str) -> pd.DataFrame:
    """A table of the published VOIs, which are of layout 1: both volumes are called ``volume_mm3`` there."""
    table = pd.read_csv(lidc_vois / f"{name}.csv")
    return table.rename(columns={"volume_mm3": VOLUME_COLUMN.get(name, "volume_mm3")})


def write_scan(root: Path, scan: ScanRecord, *, orientation: tuple[float, ...] = UNTILTED) -> Path:
    """A series at the scan's own positions whose voxel values encode their positions.

    The slices end 16 pixels behind the readers' contours: every one of the 512 x 512 would only be read and compressed.
    """
    rows, columns = np.indices(_shape_around_contours(scan))

    def stored(number: int) -> np.ndarray:
        return ((number * 131 + rows * 3 + columns * 7) % 1500).astype(np.int16)

    normal = np.cross(orientation[:3], orientation[3:])
    assert abs(normal[2]) == 1
    plan = SeriesPlan(
        corners=[(-150.0, -160.0, z) for z in scan.slice_positions],
        stored=stored,
        orientation=orientation,
        pixel_spacing=(scan.pixel_spacing_mm, scan.pixel_spacing_mm),
        patient_id=scan.patient_id,
        study_uid=scan.study_uid,
        series_uid=scan.series_uid,
    )
    folder = root / scan.patient_id / "01-01-2000-NA-NA-1" / "3000-1"
    write_series(folder, plan)
    return folder


def _shape_around_contours(scan: ScanRecord) -> tuple[int, int]:
    """(rows, columns) that hold every contour of the scan with a margin."""
    marks = [annotation.contours for nodule in database.nodules(scan) for annotation in nodule.annotations]
    columns, rows = np.concatenate([contour.points for contours in marks for contour in contours]).max(axis=0)
    return int(rows) + 17, int(columns) + 17


@pytest.fixture(scope="session")
def small_scan() -> ScanRecord:
    """A small scan of the database outside the hold-out: 87 slices, four nodules."""
    return database.scans([SMALL])[0]


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory, small_scan: ScanRecord) -> Path:
    """A DICOM root with the small scan alone."""
    root = tmp_path_factory.mktemp("dicom")
    write_scan(root, small_scan)
    return root


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory, small_root: Path) -> Path:
    """The small scan, converted with the default settings."""
    out = tmp_path_factory.mktemp("dataset")
    assert convert(small_root, out, patients=None, workers=1, settings=ConversionSettings()) == []
    return out


@pytest.fixture(scope="session")
def several_root(tmp_path_factory: pytest.TempPathFactory, small_root: Path) -> Path:
    """A DICOM root with the scans of ``SEVERAL``."""
    root = tmp_path_factory.mktemp("several")
    for scan in database.scans(SEVERAL[1:]):
        write_scan(root, scan)
    (root / SMALL).symlink_to(small_root / SMALL)
    return root


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that convert scans are forked; those of the command line's own tests are spawned as a user's are."""
    monkeypatch.setattr("preprocessing.convert.workers.process_pool", process_pool)


@pytest.fixture(scope="session")
def lidc_dicom() -> Path:
    """Two real series; the test skips where they are absent."""
    root = SHARED / "lidc_dicom"
    if not root.is_dir():
        pytest.skip(f"the real series are not at {root}")
    return root


@pytest.fixture(scope="session")
def lidc_vois() -> Path:
    """663 real nodules with their expected masks and values; the test skips where they are absent."""
    root = SHARED / "lidc_vois"
    if not root.is_dir():
        pytest.skip(f"the real VOIs are not at {root}")
    return root


@pytest.fixture(scope="session")
def real_dataset(tmp_path_factory: pytest.TempPathFactory, lidc_dicom: Path) -> Path:
    """The two real series, converted with the default settings."""
    out = tmp_path_factory.mktemp("real")
    assert convert(lidc_dicom, out, patients=None, workers=1, settings=ConversionSettings()) == []
    return out
