"""A packaged bundle runs with its own library and with no other."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from lung_nodule import library_version as module
from lung_nodule.errors import InputError
from lung_nodule.library_version import LIBRARY, library_version, refuse_other_library


def packaged(root: Path, expected: dict[str, str]) -> Path:
    (root / "configs").mkdir()
    (root / "configs" / "metadata.json").write_text(json.dumps({"lung_nodule": expected}))
    return root


def test_in_the_repository_nothing_is_checked(tmp_path: Path) -> None:
    assert refuse_other_library(LIBRARY.parent / "bundles" / "mtnet") is None
    assert refuse_other_library(tmp_path) is None


def test_the_packages_own_library_is_taken(tmp_path: Path) -> None:
    assert refuse_other_library(packaged(tmp_path, library_version())) is None


def test_another_library_is_refused_in_one_line(tmp_path: Path) -> None:
    other = {"version": "9.9.9", "sha256": "0" * 64}
    with pytest.raises(InputError, match=re.escape("packaged with lung_nodule 9.9.9 (000000000000), but")) as refused:
        refuse_other_library(packaged(tmp_path, other))
    assert "\n" not in str(refused.value)
    assert "PYTHONPATH" in str(refused.value)


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library, edited after it was packaged, that runs; the folder that it lies in."""
    own = tmp_path / "unzipped" / "lung_nodule"
    shutil.copytree(LIBRARY, own)
    (own / module.VERSION_FILE).write_text(json.dumps(library_version()))
    changed = own / "core" / "slice_patch.py"
    changed.write_text(changed.read_text() + "\n")
    monkeypatch.setattr(module, "LIBRARY", own)
    monkeypatch.setattr(module.library_version, "__defaults__", (own,))
    return own.parent


def test_the_packages_own_library_may_be_edited(edited: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It runs, with a warning of one line."""
    expected = library_version(LIBRARY)
    assert expected != library_version()
    assert refuse_other_library(packaged(edited, expected)) is None
    (warned,) = caplog.records
    assert warned.levelname == "WARNING"
    assert f"{edited / 'lung_nodule'} was edited after it was packaged" in warned.getMessage()
    assert "\n" not in warned.getMessage()


def test_an_edited_library_of_another_package_is_refused(edited: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="this bundle was packaged with lung_nodule"):
        refuse_other_library(packaged(other, library_version(LIBRARY)))


def test_the_version_is_of_contents_alone(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "x.pyc").write_bytes(b"cache")
    (copy / module.VERSION_FILE).write_text("{}")
    assert library_version(copy) == library_version()
    (copy / "core" / "slice_patch.py").rename(copy / "core" / "patches.py")
    assert library_version(copy) != library_version()
