"""Periodic canary requests while a server runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lung_nodule.deployment.server.canary import CanaryError, answered_requests, ask_canary

logger = logging.getLogger(__name__)
HANGS_S = 180.0
"""Time in seconds without an answer after which a model or a server is taken to hang."""
CANARY_S = 60.0
"""Timeout of a canary through the proxy in seconds; it is then computed to its end, and counts as an answer."""


@dataclass(frozen=True)
class _Silence:
    """A model that has not answered.

    Attributes:
        model: its name; None for the server as a whole.
        since_s: time since which it has been silent, on the monotonic clock.
        answered: inferences that each model had answered when last looked at.
    """

    model: str | None
    since_s: float
    answered: Mapping[str, int]


class HealthWatch:
    """Context manager that sends the canary every ``interval_s`` seconds in its own thread.

    A wrong answer is a failure at once. A missing one is a failure after :data:`HANGS_S` in which the model answered
    neither a canary nor, by Triton's statistics, any other inference, which it does when it is only busy. Answers of
    other models do not count, as one model can hang alone. They count where the server as a whole did not answer.

    Args:
        grpc_url: ``host:port``.
        interval_s: interval between two canaries in seconds.
        headers: metadata of the canaries, see :attr:`.grpc_guard.GrpcGuard.canary_headers`. None without the proxy: the
            canary then waits for :data:`HANGS_S`, as its timeout cancels it.

    Attributes:
        failure: failure found by the canary; no canary is sent until ``resume`` is called.
    """

    def __init__(self, grpc_url: str, interval_s: float, *, headers: Mapping[str, str] | None = None) -> None:
        self.failure: str | None = None
        self._url, self._interval_s, self._headers = grpc_url, interval_s, headers
        self._timeout_s = HANGS_S if headers is None else CANARY_S
        self._silence: _Silence | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health_watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def resume(self) -> None:
        """Watch again, after a restart of the server that has answered a canary."""
        self._silence = None
        self.failure = None

    def _watch(self) -> None:
        while not self._ended.wait(self._interval_s):
            if self.failure is None:
                self._ask()

    def _ask(self) -> None:
        before = answered_requests(self._url) if self._silence is None else self._silence.answered
        asked_s = time.monotonic()
        try:
            ask_canary(self._url, timeout_s=self._timeout_s, headers=self._headers)
            self._silence = None
        except CanaryError as error:
            failure = str(error) if error.final else self._hanging(error, asked_s, before)
            if failure is None or self._ended.is_set():
                logger.warning("the canary was not answered: %s", error)
            else:
                self.failure = failure

    def _hanging(self, error: CanaryError, asked_s: float, before: Mapping[str, int]) -> str | None:
        """Failure of a server that hangs; None for one that is busy, or has not been silent for long enough.

        Args:
            error: canary that was not answered.
            asked_s: time at which the canary was sent.
            before: inferences that each model had answered before.
        """
        now_s, answered = time.monotonic(), answered_requests(self._url)
        models = before.keys() & answered.keys() & ({error.model} if error.model else answered.keys())
        if any(answered[model] > before[model] for model in models):
            since_s = now_s
        elif self._silence is not None and self._silence.model == error.model:
            since_s = self._silence.since_s
        else:
            since_s = max(asked_s, now_s - self._timeout_s)  # the models before it may have taken their time
        self._silence = _Silence(error.model, since_s, answered or before)
        return f"{error}; no answer for {now_s - since_s:.0f} s" if now_s - since_s >= HANGS_S else None
