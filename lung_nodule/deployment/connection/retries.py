"""Calls that are repeated after a failure that passes."""

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
    """Repeats what failed because the server is busy, or can no longer be reached.

    A server that has never answered is not waited for: its address may be wrong. A request that is refused, or takes
    too long, is not sent again. tenacity does the repeating, for both protocols alike; gRPC's own retry policy writes
    no log, ends at five attempts, and would have no counterpart over HTTP.

    Args:
        number: how often a call is repeated at most; the waits grow from half a second to 16 s, with jitter.
        server: what the log calls it.
    """

    def __init__(self, number: int, *, server: str) -> None:
        self._number, self._server = number, server
        self._has_answered = self._stopped = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function until it answers.

        Raises:
            TransportError: its last one, or the one that is not repeated.
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
        """Repeat nothing from now on; safe at any moment of the main thread, which Ctrl-C may interrupt."""
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
            "the server at %s: %s; asking again in %.1f s (%d of %d)",
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
