"""Progress of a long run, on a terminal and in a log."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from lung_nodule.runtime import progress_bar as module
from lung_nodule.runtime.progress_bar import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(4, description="convert", unit="scan") as step:
        step()
        step()
        step.__self__.refresh()
    shown = sys.stderr.getvalue()
    assert "convert" in shown
    assert "2/4" in shown
    assert "scan/s" in shown or "s/scan" in shown
    assert "<" in shown.rpartition("2/4")[2]  # elapsed<left


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(module, "LOG_EVERY_S", 0.0)
    caplog.set_level(logging.INFO)
    with progress(4, description="convert", unit="scan") as step:
        step()
    assert [record.getMessage().split(",")[0] for record in caplog.records] == ["convert: 1 of 4 scans"]
    monkeypatch.setattr(module, "LOG_EVERY_S", 60.0)
    with progress(4, description="convert", unit="scan") as step:
        step()
    assert len(caplog.records) == 1
