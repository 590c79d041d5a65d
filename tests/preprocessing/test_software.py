"""The software's version: from git to the records, the tables and dataset.json."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

import lung_nodule
from lung_nodule.errors import InputError
from lung_nodule.runtime import software
from lung_nodule.runtime.software import Software, software_at, this_software
from preprocessing.convert import convert, earlier_scans, scan_task
from preprocessing.dataset import ConversionSettings, rows, verify
from tests.preprocessing.conftest import SEVERAL, SMALL

SETTINGS = ConversionSettings(margin_mm=5.0)
LATER = Software("9.9.9", "ab" * 20, modified=True)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=n@n", *arguments],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "lung_nodule").mkdir()
    (tmp_path / "lung_nodule" / "a.py").write_text("a = 1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_checkout_has_a_commit_and_says_when_it_was_changed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(checkout / "another"))  # as a git hook sets it
    clean = software_at(checkout)
    head = (checkout / ".git" / (checkout / ".git" / "HEAD").read_text().split()[1]).read_text().strip()
    assert clean == Software(lung_nodule.__version__, head, modified=False)
    assert clean.name == f"{lung_nodule.__version__}+g{head[:12]}"
    (checkout / "notes.txt").write_text("not of the packages")
    assert software_at(checkout) == clean
    (checkout / "lung_nodule" / "b.py").write_text("b = 1")
    changed = software_at(checkout)
    assert changed == Software(lung_nodule.__version__, head, modified=True)
    assert changed.name == f"{clean.name}.modified"


def test_an_installed_copy_has_a_version_alone(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also inside another project's checkout, and without git."""
    installed = checkout / "venv" / "site-packages"
    installed.mkdir(parents=True)
    plain = Software(lung_nodule.__version__, None, modified=False)
    assert software_at(installed) == plain
    assert plain.name == lung_nodule.__version__
    monkeypatch.setenv("PATH", str(installed))
    assert software_at(checkout) == plain


def test_record_table_and_description_name_the_version(small_dataset: Path) -> None:
    own = this_software()
    record = json.loads((small_dataset / "scans" / f"{SMALL}_s0.json").read_text())
    description = json.loads((small_dataset / "dataset.json").read_text())
    assert record["software"] == description["software"] == own.as_dict()
    assert record["software"]["version"] == lung_nodule.__version__
    assert pd.read_csv(small_dataset / "scans.csv")["software"].tolist() == [own.name]
    assert description["software_of_scans"] == {own.name: 1}


@pytest.mark.slow
def test_a_resume_with_another_version_warns_and_keeps_the_scans(
    several_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out, first = tmp_path / "out", this_software().name
    convert(several_root, out, patients=SEVERAL[:1], workers=1, settings=SETTINGS)
    assert "another version" not in caplog.text
    for module in (rows, scan_task, software, earlier_scans):
        monkeypatch.setattr(module, "this_software", lambda: LATER)
    monkeypatch.setattr("preprocessing.dataset.assembly.this_software", lambda: LATER)
    with caplog.at_level(logging.WARNING):
        convert(several_root, out, patients=SEVERAL[:2], workers=1, settings=SETTINGS)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert (
        f"{out} holds scans that another version wrote (1 by {first}; this is {LATER.name}): they are kept" in warning
    )
    assert "\n" not in warning
    scans = pd.read_csv(out / "scans.csv").set_index("patient_id")["software"]
    assert scans.to_dict() == {SEVERAL[0]: first, SEVERAL[1]: LATER.name}
    description = json.loads((out / "dataset.json").read_text())
    assert description["software"] == LATER.as_dict()
    assert description["software_of_scans"] == {first: 1, LATER.name: 1}
    assert verify(out) == []


def test_a_dataset_of_the_first_layout_is_not_resumed(small_root: Path, small_dataset: Path, tmp_path: Path) -> None:
    """Its annotations.csv has other columns, and its records name no version."""
    out = shutil.copytree(small_dataset, tmp_path / "out")
    path = out / "scans" / f"{SMALL}_s0.json"
    record = json.loads(path.read_text())
    record["settings"]["layout_version"] = 1
    del record["software"], record["scan"]["software"]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"other settings \(layout_version 1 -> 2\): use another --out"):
        convert(small_root, out, patients=None, workers=1, settings=ConversionSettings())
