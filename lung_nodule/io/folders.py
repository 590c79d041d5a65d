"""Every file under a folder once, regardless of links, and the paths that cannot be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

Identity = tuple[int, int]  # device and inode
LEFT_OUT = {"lost+found"}


@dataclass
class Folder:
    """One folder that ``walk`` has reached.

    Attributes:
        path: path of the folder as reached from the root, links included.
        folders: the folders in it, ordered by name; those that the caller takes out of the list are not visited.
        files: the files in it, ordered by name.
        unreadable: the folder itself or a link in it -> why it cannot be read.
    """

    path: Path
    folders: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)


def walk(root: Path, *, seen: set[Identity] | None = None) -> Iterator[Folder]:
    """Visit a folder and all folders below it; links are followed.

    Each real folder and each real file comes once, by the first path that leads to it. A link up to a folder that
    holds the root is not followed. Hidden files and folders (``.name``) and ``lost+found`` are left out.

    Args:
        root: folder to start from.
        seen: identities of what earlier walks visited, to be shared by several walks.
    """
    seen = set() if seen is None else seen
    above = _above(root)
    waiting = [root]
    while waiting:
        path = waiting.pop()
        try:
            identity = _identity(os.stat(path))
        except OSError as error:
            yield Folder(path, unreadable={path: reason(error)})
            continue
        if identity not in above and _is_new(identity, seen):
            folder = _look_into(path, seen)
            yield folder
            waiting += reversed(folder.folders)


def files_under(root: Path, *, seen: set[Identity] | None = None) -> tuple[list[Path], dict[Path, str]]:
    """All files under a folder, and the paths that cannot be read, with the reason; see ``walk``."""
    files: list[Path] = []
    unreadable: dict[Path, str] = {}
    for folder in walk(root, seen=seen):
        files += folder.files
        unreadable |= folder.unreadable
    return files, unreadable


def new_files(paths: list[Path], *, seen: set[Identity]) -> list[Path]:
    """The files that no earlier path has led to; one that cannot be looked at counts as new."""
    new = []
    for path in paths:
        identity = (0, 0)
        with suppress(OSError):
            identity = _identity(os.stat(path))
        if _is_new(identity, seen):
            new.append(path)
    return new


def reason(error: OSError) -> str:
    """The operating system's words for an error: ``Permission denied``."""
    return error.strerror or " ".join(str(error).split())


def _look_into(path: Path, seen: set[Identity]) -> Folder:
    folder = Folder(path)
    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        folder.unreadable[path] = reason(error)
        return folder
    for entry in entries:
        if entry.name.startswith(".") or entry.name in LEFT_OUT:
            continue
        try:
            status = entry.stat()
        except OSError as error:
            folder.unreadable[path / entry.name] = reason(error)
            continue
        if stat.S_ISDIR(status.st_mode):
            folder.folders.append(path / entry.name)
        elif stat.S_ISREG(status.st_mode) and _is_new(_identity(status), seen):
            folder.files.append(path / entry.name)
    return folder


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _is_new(identity: Identity, seen: set[Identity]) -> bool:
    """Note an identity; file systems without inodes give 0, which says nothing."""
    if identity[1] == 0:
        return True
    new = identity not in seen
    seen.add(identity)
    return new


def _above(root: Path) -> set[Identity]:
    found = set()
    for folder in Path(os.path.realpath(root)).parents:
        with suppress(OSError):
            found.add(_identity(os.stat(folder)))
    return {identity for identity in found if identity[1]}
