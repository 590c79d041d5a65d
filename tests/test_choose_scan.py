"""The scan that the quickstart predicts: the one with the most nodules, of the test fold where there is one."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from lung_nodule.errors import InputError

choose = runpy.run_path(str(Path(__file__).resolve().parents[1] / "ci" / "choose_scan.py"))["choose"]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    (tmp_path / "nodules.csv").write_text("nodule_id,patient_id,series_uid\na1,A,1.1\nb1,B,1.2\nb2,B,1.2\n")
    (tmp_path / "scans.csv").write_text("series_uid,patient_id,ct\n1.1,A,scans/A.nii.gz\n1.2,B,scans/B.nii.gz\n")
    (tmp_path / "predictions.csv").write_text("nodule_id\na1\n")
    return tmp_path


def test_most_nodules_or_those_of_the_test_fold(dataset: Path) -> None:
    assert choose(str(dataset)) == "scans/B.nii.gz B 1.2"
    assert choose(str(dataset), str(dataset / "predictions.csv")) == "scans/A.nii.gz A 1.1"


def test_scans_without_a_nodule(dataset: Path) -> None:
    (dataset / "nodules.csv").write_text("nodule_id,patient_id,series_uid\n")
    with pytest.raises(InputError, match="no nodule in"):
        choose(str(dataset))
