"""Exports that a server has loaded, to tell a restart with other ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lung_nodule.deployment.repository.file_record import RECORD


@dataclass(frozen=True)
class ServedExport:
    """One export of a repository.

    Attributes:
        version: version of the weights; of a model without weights, such as the panel, that of the library.
        files: SHA-256 by path within the repository.
    """

    version: str
    files: Mapping[str, str]


def read_exports(repository: Path) -> dict[str, ServedExport]:
    """Read the records of a repository's exports, by bundle."""
    before, _, after = RECORD.partition("{bundle}")
    found = {}
    for path in sorted(repository.glob(RECORD.format(bundle="*"))):
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record.get("client", {}).get("version", record.get("library", "unknown"))
        found[path.name.removeprefix(before).removesuffix(after)] = ServedExport(version, record.get("files", {}))
    return found


def changes(before: Mapping[str, ServedExport], now: Mapping[str, ServedExport]) -> list[str]:
    """Name the bundles whose exports differ, each with its versions before and now."""
    return [
        f"{name} {_version(before, name)} -> {_version(now, name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _version(exports: Mapping[str, ServedExport], name: str) -> str:
    return exports[name].version if name in exports else "none"
