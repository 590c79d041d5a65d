"""Retries of calls after temporary failures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from lung_nodule.deployment.connection.transport import Failure, TransportError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

logger = logging.getLogger(__name__)
T = TypeVar("T")
_FIRST_S, _LONGEST_S, _JITTER_S = 0.5, 16.0, 0.5


class Retries:
    """Retries calls that failed because the server is busy or no longer reachable.

    There are no retries for a server that has never answered, as its address may be wrong, nor for requests that are
    refused or time out. Retries use tenacity for both protocols; gRPC's own retry policy does not log, is limited to
    five attempts and has no counterpart over HTTP.

    Args:
        number: maximum number of retries; the waits grow from 0.5 s to 16 s, with jitter.
        server: name of the server in the log.
    """

    def __init__(self, number: int, *, server: str) -> None:
        self._number, self._server = number, server
        self._has_answered = self._stopped = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function with retries.

        Raises:
            TransportError: the last error, or one that is not retried.
        """
        repeated = Retrying(
            retry=retry_if_exception(self._passes),
            stop=lambda state: self._stopped or stop_after_attempt(1 + self._number)(state),
            wait=wait_exponential_jitter(multiplier=_FIRST_S, max=_LONGEST_S, jitter=_JITTER_S),
            before_sleep=self._report,
            sleep=self._sleep,
            reraise=True,
        )
        answer = repeated(function, *arguments)
        self._has_answered = True
        return answer

    def stop(self) -> None:
        """Stop retrying; safe in the main thread, which Ctrl-C may interrupt at any time."""
        self._stopped = True
        self._wake.put(None)

    def _passes(self, error: BaseException) -> bool:
        if not isinstance(error, TransportError):
            return False
        return error.failure is Failure.BUSY or (error.failure is Failure.UNREACHABLE and self._has_answered)

    def _report(self, state: RetryCallState) -> None:
        assert state.outcome is not None
        assert state.next_action is not None
        logger.warning(
            "the server at %s: %s; retrying in %.1f s (%d of %d)",
            self._server,
            state.outcome.exception(),
            state.next_action.sleep,
            state.attempt_number,
            self._number,
        )

    def _sleep(self, seconds: float) -> None:
        try:
            self._wake.get(timeout=seconds)
        except Empty:
            return
        self._wake.put(None)  # for the other threads
        raise TransportError(Failure.UNREACHABLE, "the client was closed before the request was sent again")
