"""Report errors of pydicom and highdicom in one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lung_nodule.errors import InputError
from lung_nodule.io.dicom.quiet import quiet

REFUSALS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError, sqlite3.Error)
"""Exceptions that highdicom, which holds frames in an SQLite table, raises for invalid input."""

HIGHDICOM = "highdicom"
"""Name of highdicom's logger."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Suppress warnings, and convert errors of the libraries to an :class:`InputError` that names the file."""
    try:
        with quiet(HIGHDICOM):
            yield
    except InputError:
        raise
    except REFUSALS as error:
        raise InputError(f"{path} cannot be used: {' '.join(str(error).split())}") from error
