"""Worker threads for the main thread, which Ctrl-C may interrupt at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any


@dataclass(frozen=True, eq=False)
class Reply:
    """Outcome of a call.

    Attributes:
        key: caller's key of the call.
        result: return value; None if the function raised.
        error: exception raised by the function, or None.
    """

    key: int
    result: Any
    error: Exception | None

    def get(self) -> Any:
        """Return the result.

        Raises:
            Exception: the exception of the function.
        """
        if self.error is not None:
            raise self.error
        return self.result


class CallThreads:
    """Running threads that take calls from a queue.

    The caller uses only ``SimpleQueue``, whose operations an exception from a signal handler cannot interrupt. The
    locks of ``concurrent.futures`` and of gRPC could stay locked forever.

    Args:
        number: number of threads.
        name: name of the threads.
        at_end: function that each thread calls when it ends, to close its own resources.
    """

    def __init__(self, number: int, *, name: str, at_end: Callable[[], object] = lambda: None) -> None:
        self._at_end = at_end
        self._calls: SimpleQueue[tuple[SimpleQueue[Reply], int, Callable[..., Any], tuple] | None] = SimpleQueue()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def call(self, replies: SimpleQueue[Reply], key: int, function: Callable[..., Any], *arguments: object) -> None:
        """Queue a function call; its Reply is put into ``replies``.

        Raises:
            RuntimeError: after ``finish``.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        self._calls.put((replies, key, function, arguments))

    def finish(self) -> None:
        """Wait for running calls and drop those that have not started."""
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
