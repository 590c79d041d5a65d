"""The canary, asked again and again while a server runs."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from lung_nodule.deployment.server.canary import CanaryError, ask_canary

logger = logging.getLogger(__name__)


class HealthWatch:
    """Asks the canary every ``interval_s`` seconds, on a thread of its own, as a context manager.

    Args:
        grpc_url: ``host:port``.
        interval_s: between two inferences.

    Attributes:
        failure: what the canary found; nothing is asked until it is set to None again.
    """

    def __init__(self, grpc_url: str, interval_s: float) -> None:
        self.failure: str | None = None
        self._url, self._interval_s = grpc_url, interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health_watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(self._interval_s):
            if self.failure is None:
                self._ask()

    def _ask(self) -> None:
        try:
            ask_canary(self._url)
        except CanaryError as error:
            if error.final and not self._ended.is_set():
                self.failure = str(error)
            else:
                logger.warning("the canary was not answered: %s", error)
