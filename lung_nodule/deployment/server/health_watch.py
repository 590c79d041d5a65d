"""Periodic canary requests while a server runs."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from lung_nodule.deployment.server.canary import CanaryError, ask_canary

logger = logging.getLogger(__name__)


class HealthWatch:
    """Context manager that sends the canary every ``interval_s`` seconds in its own thread.

    Args:
        grpc_url: ``host:port``.
        interval_s: interval between two canaries in seconds.

    Attributes:
        failure: failure found by the canary; no canary is sent until it is reset to None.
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
