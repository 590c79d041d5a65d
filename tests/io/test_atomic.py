"""Files appear under their final name only when they are whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lung_nodule.io import atomic_path, write_json


def test_the_file_takes_its_name_only_at_the_end(tmp_path: Path) -> None:
    final = tmp_path / "new" / "scan_ct.nii.gz"
    with atomic_path(final) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == final.parent
        assert temporary.name.endswith(".nii.gz")
        assert not final.exists()
    assert final.read_text() == "whole"
    assert list(final.parent.iterdir()) == [final]


def test_an_error_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    final = tmp_path / "table.csv"
    final.write_text("old")

    def write_half() -> None:
        with atomic_path(final) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_half()
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    final = tmp_path / "a.json"
    with atomic_path(final) as first, atomic_path(final) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert final.read_text() == "first"


def test_json_refuses_what_is_not_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"Ångström": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"Ångström": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()
