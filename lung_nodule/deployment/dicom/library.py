"""How this package calls pydicom and highdicom: in silence, and with their refusals in one line."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lung_nodule.errors import InputError

REFUSALS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""As highdicom raises them."""


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is said of values of a file that are odd, but taken, nor of each step of highdicom's."""
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
    """As :func:`quiet`; what the libraries refuse is an :class:`InputError` that names the file."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except REFUSALS as error:
        raise InputError(f"{path} cannot be used: {' '.join(str(error).split())}") from error
