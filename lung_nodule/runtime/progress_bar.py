"""Progress of a long run: a bar on a terminal, an occasional line in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

logger = logging.getLogger(__name__)

LOG_EVERY_S = 60.0


@contextmanager
def progress(total: int, *, description: str, unit: str) -> Iterator[Callable[[], object]]:
    """Yield a function to call after each unit of work.

    On a terminal a bar shows rate and time left. Elsewhere at most one line per minute is logged.
    """
    if sys.stderr.isatty():
        with logging_redirect_tqdm(), tqdm(total=total, desc=description, unit=unit, smoothing=0.1) as bar:
            yield bar.update
    else:
        yield _Lines(total, description=description, unit=unit)


class _Lines:
    """Progress as log lines, where a bar would fill the log."""

    def __init__(self, total: int, *, description: str, unit: str) -> None:
        self.total, self.description, self.unit = total, description, unit
        self.done = 0
        self.started = self.logged = time.monotonic()

    def __call__(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.logged < LOG_EVERY_S:
            return
        self.logged = now
        each = (now - self.started) / self.done
        left = each * (self.total - self.done) / 60
        logger.info(
            "%s: %d of %d %ss, %.1f s each, about %.0f min left",
            self.description,
            self.done,
            self.total,
            self.unit,
            each,
            left,
        )
