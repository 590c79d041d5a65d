"""Version of the running library, and the check that it is the one that a bundle was packaged with.

A package carries its own copy of ``lung_nodule/``. If another copy comes earlier on the path (two unzipped packages, an
installed library), Python silently imports that one: here it is refused. The package's own copy may be edited: it runs,
with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import lung_nodule
from lung_nodule.errors import InputError

logger = logging.getLogger(__name__)

LIBRARY = Path(lung_nodule.__file__).parent
VERSION_FILE = "LIBRARY_VERSION.json"
NOT_PACKED = ("benchmark", "deployment", "__main__.py", "ruff.toml")
"""Excluded from packages: benchmark, export, server, client and report need the repository."""
KEY = "lung_nodule"
"""The entry of a packaged ``configs/metadata.json`` that holds the version."""


def library_files(library: Path = LIBRARY) -> list[Path]:
    """The files that a package takes, sorted by their path; no caches, no hidden files, nothing of ``NOT_PACKED``."""
    files = (path for path in library.rglob("*") if path.is_file() and path.name != VERSION_FILE)
    kept = (path for path in files if not _is_left_out(path.relative_to(library)))
    return sorted(kept, key=lambda path: path.relative_to(library).as_posix())


def library_version(library: Path = LIBRARY) -> dict[str, str]:
    """``version`` and ``sha256`` of a copy: the hash is over the paths and contents of its files."""
    digest = hashlib.sha256()
    for path in library_files(library):
        name, content = path.relative_to(library).as_posix(), path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return {"version": lung_nodule.__version__, "sha256": digest.hexdigest()}


def refuse_other_library(bundle_root: str | Path) -> None:
    """Refuse to run a packaged bundle with another library than its own; in the repository nothing is checked.

    The package's own copy runs even where it was edited, with a warning.

    Args:
        bundle_root: folder of the bundle; its ``configs/metadata.json`` names the library where it was packaged.

    Raises:
        InputError: the imported library lies elsewhere and is another one.
    """
    path = Path(bundle_root) / "configs" / "metadata.json"
    expected = json.loads(path.read_text()).get(KEY) if path.is_file() else None
    if expected is None:
        return
    found = library_version()
    if found == expected:
        logger.info(f"lung_nodule {found['version']} of this package, from {LIBRARY}")
        return
    if (Path(bundle_root) / "lung_nodule").resolve() == LIBRARY.resolve():
        logger.warning(f"{LIBRARY} was edited after it was packaged: it is no longer {_named(expected)}")
        return
    raise InputError(
        f"this bundle was packaged with lung_nodule {_named(expected)}, but {LIBRARY} is {_named(found)}: start in "
        f"{Path(bundle_root).resolve()}, with no other lung_nodule on PYTHONPATH and one bundle per process"
    )


def _named(version: dict[str, str]) -> str:
    return f"{version['version']} ({version['sha256'][:12]})"


def _is_left_out(path: Path) -> bool:
    hidden = any(part == "__pycache__" or part.startswith(".") for part in path.parts)
    return hidden or path.suffix == ".pyc" or path.parts[0] in NOT_PACKED
