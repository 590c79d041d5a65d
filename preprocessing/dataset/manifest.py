"""``MANIFEST.sha256``: the checksums of a folder's files, in the format of ``sha256sum``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256, write_text

MANIFEST = "MANIFEST.sha256"
MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write_manifest(folder: Path, digests: Mapping[str, str], others: Sequence[str]) -> None:
    """Write the manifest of a folder, ordered by path.

    Args:
        folder: folder in which it is written.
        digests: SHA-256 of files, by path relative to the folder, from the scans' records.
        others: further files, whose SHA-256 is computed here.
    """
    lines = {**digests, **{name: file_sha256(folder / name) for name in others}}
    write_text(folder / MANIFEST, "".join(f"{digest}  {name}\n" for name, digest in sorted(lines.items())))


def read_manifest(dataset: Path) -> dict[str, str]:
    """SHA-256 by path relative to the dataset.

    Raises:
        InputError: it is missing, or a line is not in the format of ``sha256sum``.
    """
    path = dataset / MANIFEST
    if not path.is_file():
        raise InputError(f"no {MANIFEST} in {dataset}: not a dataset, or its conversion was not finished")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    digests = {}
    for number, line in enumerate(lines, start=1):
        match = MANIFEST_LINE.fullmatch(line)
        if match is None:
            raise InputError(f"{path}, line {number}: not a checksum and a path; run the command that wrote it again")
        digests[match[2]] = match[1]
    return digests
