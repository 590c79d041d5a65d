"""Hashes: of a file's content, and of a patient's name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_sha256(paths: Iterable[str | Path]) -> str:
    """SHA-256 of the sorted hashes of several files: the same whatever they are called and however ordered."""
    return hashlib.sha256("".join(sorted(map(file_sha256, paths))).encode()).hexdigest()


def patient_hash(patient_id: str) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a patient's ID: tells whether two are equal.

    It names nobody, but whoever guesses an ID can confirm it: no protection for IDs that can be enumerated.
    """
    return hashlib.sha256(patient_id.encode()).hexdigest()[:12]
