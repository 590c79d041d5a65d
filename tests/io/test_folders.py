"""Every file under a folder once, by whatever path, and what cannot be looked into by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lung_nodule.io import files_under, new_files, walk


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def names(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in files_under(root)[0]]


def test_files_at_any_depth_in_order(tmp_path: Path) -> None:
    tree(tmp_path, "b/z", "b/a", "a/1/2/3/4/5/x", "c", ".hidden/x", "b/._a", "lost+found/x")
    assert names(tmp_path) == ["c", "a/1/2/3/4/5/x", "b/a", "b/z"]


def test_links_are_followed_and_each_real_file_comes_once(tmp_path: Path) -> None:
    tree(tmp_path, "root/a/x", "outside/y")
    root = tmp_path / "root"
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "twice").symlink_to(tmp_path / "outside")
    (root / "z").symlink_to(root / "a" / "x")
    os.link(root / "a" / "x", root / "a" / "hard")
    assert sorted((root / name).read_text() for name in names(root)) == ["outside/y", "root/a/x"]


def test_circles_end(tmp_path: Path) -> None:
    tree(tmp_path, "above/start/a/x", "above/b/y")
    root = tmp_path / "above" / "start"
    for name, target in {"up": tmp_path / "above", "here": root, "a/back": root / "a", "a/next": root}.items():
        (root / name).symlink_to(target)
    assert [folder.path for folder in walk(root)] == [root, root / "a"]
    assert names(root) == ["a/x"]


def test_a_caller_may_leave_folders_out(tmp_path: Path) -> None:
    tree(tmp_path, "a/x", "b/y")
    found = []
    for folder in walk(tmp_path):
        found += folder.files
        folder.folders[:] = [path for path in folder.folders if path.name != "a"]
    assert found == [tmp_path / "b" / "y"]


def test_what_cannot_be_looked_into_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "a/x")
    (tmp_path / "gone").symlink_to(tmp_path / "absent")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert files_under(tmp_path) == (
        [tmp_path / "a" / "x"],
        {
            tmp_path / "circle": "Too many levels of symbolic links",
            tmp_path / "gone": "No such file or directory",
        },
    )
    assert files_under(tmp_path / "absent") == ([], {tmp_path / "absent": "No such file or directory"})


def test_a_closed_folder_does_not_hide_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a/x", "b/y")
    scandir = os.scandir

    def closed(path: Path) -> object:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert files_under(tmp_path) == ([tmp_path / "b" / "y"], {tmp_path / "a": "Permission denied"})


def test_single_files_are_distinguished_from_those_seen(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    (tmp_path / "d").symlink_to(tmp_path / "absent")
    seen: set[tuple[int, int]] = set()
    given = [tmp_path / name for name in "abcd"]
    assert new_files(given, seen=seen) == [tmp_path / "a", tmp_path / "b", tmp_path / "d"]
    assert new_files(given, seen=seen) == [tmp_path / "d"]


def test_file_systems_without_inodes_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a/x", "b/y", "b/z")
    monkeypatch.setattr("lung_nodule.io.folders._identity", lambda status: (0, 0))
    assert names(tmp_path) == ["a/x", "b/y", "b/z"]
