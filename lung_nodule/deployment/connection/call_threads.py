"""Threads that call functions for the main thread, which Ctrl-C may interrupt at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any


@dataclass(frozen=True, eq=False)
class Reply:
    """What a call gave.

    Attributes:
        key: the caller's name for the call.
        result: what the function returned; None where it raised.
        error: what it raised, or None.
    """

    key: int
    result: Any
    error: Exception | None

    def get(self) -> Any:
        """The result.

        Raises:
            Exception: what the function raised.
        """
        if self.error is not None:
            raise self.error
        return self.result


class CallThreads:
    """Threads that run already and take calls from a queue.

    The caller's side touches nothing but ``SimpleQueue``, whose steps an exception from a signal handler cannot
    interrupt. The locks in Python that ``concurrent.futures`` takes, and those of gRPC, could stay locked forever.

    Args:
        number: how many calls may run at once.
        name: of the threads.
        at_end: called by each thread when it ends, to close what it alone may touch.
    """

    def __init__(self, number: int, *, name: str, at_end: Callable[[], object] = lambda: None) -> None:
        self._at_end = at_end
        self._calls: SimpleQueue[tuple[SimpleQueue[Reply], int, Callable[..., Any], tuple] | None] = SimpleQueue()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def call(self, replies: SimpleQueue[Reply], key: int, function: Callable[..., Any], *arguments: object) -> None:
        """Queue a call of a function; its Reply is put into ``replies``.

        Raises:
            RuntimeError: after ``finish``.
        """
        if self._closed:
            raise RuntimeError("these threads take no calls any more")
        self._calls.put((replies, key, function, arguments))

    def finish(self) -> None:
        """Wait for the calls that run, and drop those that have not begun."""
        self._closed = True
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                if not self._closed:
                    replies, key, function, arguments = call
                    replies.put(_reply(key, function, arguments))
        finally:
            self._at_end()


def _reply(key: int, function: Callable[..., Any], arguments: tuple) -> Reply:
    try:
        return Reply(key, function(*arguments), None)
    except Exception as error:
        return Reply(key, None, error)
