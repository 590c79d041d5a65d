"""SHA-256 of every file of a model repository, written by the export and checked before serving."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256

RECORD = "export_{bundle}.json"


def recorded_files(repository: Path, models: Sequence[str]) -> dict[str, str]:
    """SHA-256 of all files of the given models, by path within the repository."""
    files = (path for model in models for path in sorted((repository / model).rglob("*")) if path.is_file())
    return {path.relative_to(repository).as_posix(): file_sha256(path) for path in files if not _is_bytecode(path)}


def check_files(repository: str | Path) -> None:
    """Refuse a repository whose files have changed since the export.

    Args:
        repository: folder of the repository; models without a record are not checked.

    Raises:
        InputError: a file is missing or its content has changed.
    """
    folder = Path(repository)
    for record in sorted(folder.glob(RECORD.format(bundle="*"))):
        written = json.loads(record.read_text(encoding="utf-8")).get("files", {})
        for name, sha256 in written.items():
            path = folder / name
            if not path.is_file():
                raise InputError(f"{path} is missing: export the bundle again")
            if file_sha256(path) != sha256:
                raise InputError(f"{path} has changed since the export: export the bundle again")


def _is_bytecode(path: Path) -> bool:
    """Whether a file is bytecode, which Triton's stub writes into the repository."""
    return "__pycache__" in path.parts
