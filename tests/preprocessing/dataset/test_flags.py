"""Flags: the README lists exactly the code's flags, and every flag of a nodule occurs on the phantom's geometry."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from preprocessing.convert import convert
from preprocessing.dataset import ConversionSettings
from preprocessing.dataset.flags import FILE_FLAGS, NODULE_FLAGS, PLACE_FLAGS, SCAN_FLAGS, scan_flags
from preprocessing.lidc import database
from preprocessing.lidc.quality import FLAGS
from preprocessing.lidc.records import NoduleRecord, ScanRecord
from preprocessing.phantom.drawing import Drawing
from preprocessing.phantom.series import write_series
from tests.preprocessing.conftest import SMALL

NODULES = (NoduleRecord("n", SMALL, ()),)
README = Path(__file__).resolve().parents[3] / "preprocessing" / "README.md"


def rows_of_readme() -> dict[str, tuple[bool, bool]]:
    """Flag -> whether the README puts it into scans.csv, into nodules.csv."""
    found = re.findall(r"^\| `(\w+)` \| (yes|) ?\| (yes|) ?\|", README.read_text(), flags=re.MULTILINE)
    return {name: (scan == "yes", nodule == "yes") for name, scan, nodule in found}


def test_the_readme_lists_every_flag_and_no_other() -> None:
    listed = rows_of_readme()
    assert {name for name, (scan, _) in listed.items() if scan} == set(SCAN_FLAGS)
    assert {name for name, (_, nodule) in listed.items() if nodule} == set(NODULE_FLAGS)


def test_the_cohorts_flags_are_among_them() -> None:
    assert set(FLAGS) <= set(NODULE_FLAGS)
    assert not set(FILE_FLAGS) & set(NODULE_FLAGS)
    assert set(PLACE_FLAGS) <= set(SCAN_FLAGS) & set(NODULE_FLAGS)


def test_a_remark_that_is_no_flag_is_an_error(small_scan: ScanRecord) -> None:
    """So that no flag can enter the tables without a line in the README."""
    volume = SimpleNamespace(affine=np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert scan_flags(small_scan, SimpleNamespace(remarks={"padding": "all"}, volume=volume), NODULES) == ["padding"]
    with pytest.raises(ValueError, match="not in tuple"):
        scan_flags(small_scan, SimpleNamespace(remarks={"upside_down": "all"}, volume=volume), [])


@pytest.mark.parametrize(
    ("patient", "consensus", "shown"),
    [
        (SMALL, 0.5, {"several_components", "self_overlap"}),
        ("LIDC-IDRI-0053", 0.5, {"exclusion_contours"}),
        ("LIDC-IDRI-0707", 1.0, {"empty_consensus"}),
    ],
)
def test_flags_of_nodules(patient: str, consensus: float, shown: set[str], tmp_path: Path) -> None:
    """Those of a scan's slices and annotations are shown by the hard cases."""
    (scan,) = database.scans([patient])
    flat = np.zeros((len(scan.slice_positions), 512, 512), np.int16)
    write_series(tmp_path / "dicom", scan, Drawing(hu=flat, corner_mm=(-150.0, -160.0)))
    settings = ConversionSettings(margin_mm=5, consensus=consensus)
    convert(tmp_path / "dicom", tmp_path / "out", patients=None, workers=1, settings=settings)
    nodules = pd.read_csv(tmp_path / "out" / "nodules.csv")
    found = set(";".join(nodules["flags"].fillna("")).split(";"))
    assert shown <= found
    assert found - {""} <= set(NODULE_FLAGS) - set(PLACE_FLAGS)
    assert pd.read_csv(tmp_path / "out" / "scans.csv")["flags"].tolist() == ["padding"]


def test_the_small_scan_without_padding_has_no_flag(small_dataset: Path) -> None:
    assert pd.read_csv(small_dataset / "scans.csv")["flags"].isna().all()
