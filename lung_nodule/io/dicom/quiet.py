"""Suppress what pydicom says of unusual but accepted values, once a slice."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Suppress warnings, and log messages below ERROR of pydicom and of further libraries.

    Args:
        libraries: names of further loggers.
    """
    loggers = [logging.getLogger(name) for name in ("pydicom", *libraries)]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
