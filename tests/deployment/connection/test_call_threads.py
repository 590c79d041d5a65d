"""Threads that call for the main thread: side by side, in order of arrival, and to the end."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from lung_nodule.deployment.connection.call_threads import CallThreads, Reply


def test_calls_run_side_by_side_and_come_back_under_their_keys() -> None:
    threads, replies, all_here = CallThreads(3, name="test"), SimpleQueue[Reply](), threading.Barrier(3, timeout=30)
    for key in range(6):
        threads.call(replies, key, lambda number: (all_here.wait(), number * number)[1], key)
    found = {reply.key: reply.get() for reply in (replies.get() for _ in range(6))}
    threads.finish()
    assert found == {key: key * key for key in range(6)}


def test_an_exception_is_raised_where_the_reply_is_read() -> None:
    threads, replies = CallThreads(1, name="test"), SimpleQueue[Reply]()
    threads.call(replies, 7, int, "seven")
    reply = replies.get()
    threads.finish()
    with pytest.raises(ValueError, match="seven"):
        reply.get()


def test_finish_waits_for_the_call_that_runs_and_drops_the_others() -> None:
    threads, replies = CallThreads(1, name="test"), SimpleQueue[Reply]()
    begun, go_on = threading.Event(), threading.Event()
    threads.call(replies, 0, lambda: (begun.set(), go_on.wait(30)))
    threads.call(replies, 1, lambda: None)
    assert begun.wait(30)
    threading.Timer(0.2, go_on.set).start()
    threads.finish()
    assert replies.get().key == 0
    assert replies.empty()
    with pytest.raises(RuntimeError, match="the client is closed"):
        threads.call(replies, 2, int)
