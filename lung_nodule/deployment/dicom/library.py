"""Suppress pydicom and highdicom warnings and report their errors in one line."""

from __future__ import annotations

import logging
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lung_nodule.errors import InputError

REFUSALS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError, sqlite3.Error)
"""Exceptions that highdicom, which holds frames in an SQLite table, raises for invalid input."""


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings about unusual but accepted values, and highdicom's INFO log."""
    library = logging.getLogger("highdicom")
    before = library.level
    library.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.setLevel(before)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """As :func:`quiet`, and convert errors of the libraries to an :class:`InputError` that names the file."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except REFUSALS as error:
        raise InputError(f"{path} cannot be used: {' '.join(str(error).split())}") from error
