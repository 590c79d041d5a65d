"""When the watch takes a server to hang, without a server."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from lung_nodule.deployment.server import health_watch
from lung_nodule.deployment.server.canary import CanaryError
from lung_nodule.deployment.server.health_watch import CANARY_S, HANGS_S, HealthWatch

CHECK_S = 30.0
LATE = CanaryError("mtnet: Deadline Exceeded", final=False, model="mtnet")
SILENT = CanaryError("Deadline Exceeded", final=False)
WRONG = CanaryError("mtnet: Stub process 'mtnet_preprocess_0_0' is not healthy.", final=True, model="mtnet")


class Server:
    """A simulated server and clock: what it says to the canary, and how many inferences it has answered by then."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.says: CanaryError | None = None
        self.answered: dict[str, int] = {"mtnet": 1, "mtcnn": 1}
        self.answering: tuple[str, ...] = ()
        self.timeouts: list[float] = []
        self.slow_s = 0.0

    def ask_canary(self, url: str, *, timeout_s: float, headers: object) -> list[str]:
        self.timeouts.append(timeout_s)
        self.now_s += self.slow_s
        for name in self.answering:
            self.answered[name] += 1
        if self.says is None:
            return ["mtnet"]
        self.now_s += timeout_s if self.says.model else 2.0
        raise self.says

    def answered_requests(self, url: str) -> dict[str, int]:
        return {} if self.says is SILENT and not self.answering else dict(self.answered)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    simulated = Server()
    monkeypatch.setattr(health_watch, "ask_canary", simulated.ask_canary)
    monkeypatch.setattr(health_watch, "answered_requests", simulated.answered_requests)
    monkeypatch.setattr(health_watch, "time", SimpleNamespace(monotonic=lambda: simulated.now_s))
    return simulated


def fails_after(watch: HealthWatch, server: Server) -> float:
    """Seconds until the watch has a failure; infinite if it has none in an hour."""
    started = server.now_s
    while server.now_s < started + 3600:
        server.now_s += CHECK_S
        watch._ask()
        if watch.failure is not None:
            return server.now_s - started
    return math.inf


@pytest.mark.parametrize("says", [LATE, SILENT], ids=["a model", "the server"])
def test_what_does_not_answer_hangs_after_a_while(says: CanaryError, server: Server) -> None:
    watch = HealthWatch("url", CHECK_S, headers={})
    assert fails_after(watch, server) == math.inf
    server.says = says
    assert HANGS_S <= fails_after(watch, server) <= HANGS_S + CHECK_S + CANARY_S
    assert "Deadline Exceeded; no answer for " in str(watch.failure)


def test_what_answers_others_is_busy(server: Server) -> None:
    watch = HealthWatch("url", CHECK_S, headers={})
    server.says, server.answering = LATE, ("mtnet",)
    assert fails_after(watch, server) == math.inf
    server.says, server.answering = SILENT, ("mtcnn",)
    assert fails_after(watch, server) == math.inf


def test_the_answers_of_other_models_do_not_count_for_one(server: Server) -> None:
    server.says, server.answering = LATE, ("mtcnn",)
    assert fails_after(HealthWatch("url", CHECK_S, headers={}), server) < math.inf


def test_an_answer_between_two_canaries_counts(server: Server) -> None:
    """Such as that of a canary that was given up."""
    watch = HealthWatch("url", CHECK_S, headers={})
    server.says = LATE
    for _ in range(20):
        watch._ask()
        server.answered["mtnet"] += 1
    assert watch.failure is None


def test_slow_answers_of_the_models_before_do_not_count_against_one(server: Server) -> None:
    watch = HealthWatch("url", CHECK_S, headers={})
    server.slow_s = 2 * HANGS_S
    watch._ask()
    server.says = LATE
    watch._ask()
    assert watch.failure is None


def test_a_wrong_answer_is_a_failure_at_once(server: Server) -> None:
    watch = HealthWatch("url", CHECK_S, headers={})
    server.says = WRONG
    assert fails_after(watch, server) == pytest.approx(CHECK_S + CANARY_S)
    assert watch.failure == str(WRONG)


def test_after_a_restart_the_time_begins_again(server: Server) -> None:
    watch = HealthWatch("url", CHECK_S, headers={})
    server.says = LATE
    fails_after(watch, server)
    server.now_s += 100
    watch.resume()
    assert watch.failure is None
    assert fails_after(watch, server) >= HANGS_S


def test_a_canary_that_would_be_cancelled_waits_longer(server: Server) -> None:
    """A cancelled inference can crash Triton: only the proxy keeps one."""
    HealthWatch("url", CHECK_S, headers={})._ask()
    HealthWatch("url", CHECK_S)._ask()
    assert server.timeouts == [CANARY_S, HANGS_S]
    assert HANGS_S < 600
