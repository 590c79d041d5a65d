"""What the client sends again, what it does not, and for how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from inspect import signature

import pytest
from grpc import StatusCode

from lung_nodule.__main__ import predict
from lung_nodule.deployment.client import RETRIES, NoduleClient
from lung_nodule.deployment.connection import retries
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.errors import InputError
from tests.deployment.fake_triton import QUICK, Service, serving_grpc, serving_http
from tests.deployment.test_client import _vois

FIRST_S = retries._FIRST_S  # the tests wait for less
Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture(params=[serving_grpc, serving_http], ids=["grpc", "http"])
def serving(request: pytest.FixtureRequest) -> Serving:
    return request.param


@pytest.fixture
def service(serving: Serving) -> Iterator[tuple[Service, str]]:
    servicer = Service()
    with serving(servicer) as url:
        yield servicer, url


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "_FIRST_S", 0.02)
    monkeypatch.setattr(retries, "_JITTER_S", 0.01)


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == retries.__name__]


def test_a_failure_that_passes_is_asked_again_with_a_line_each(
    service: tuple[Service, str], caplog: pytest.LogCaptureFixture
) -> None:
    servicer, url = service
    servicer.failing.extend([StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED])
    with NoduleClient(url) as client:
        ((_, answer),) = client.ask(_vois(QUICK))
    assert answer.malignancy == 0
    assert servicer.asked == 3
    assert [line.rpartition("(")[2] for line in _said(caplog)] == ["1 of 8)", "2 of 8)"]
    assert all("a failure; retrying in 0.0" in line for line in _said(caplog))


@pytest.mark.parametrize("code", [StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND])
def test_a_refusal_is_not_asked_again(service: tuple[Service, str], code: StatusCode) -> None:
    servicer, url = service
    servicer.failing.append(code)
    with NoduleClient(url) as client, pytest.raises(InputError, match=r"nodule_0: .* refused: a failure"):
        list(client.ask(_vois(QUICK)))
    assert servicer.asked == 1


def test_the_default_outlasts_a_restart_of_the_server() -> None:
    """``serve`` asks its canary every 30 s, and a start takes a few seconds."""
    check_s = signature(TritonServer).parameters["check_s"].default
    waits = [min(FIRST_S * 2**number, retries._LONGEST_S) for number in range(RETRIES)]
    assert sum(waits) > 1.5 * check_s
    assert signature(predict).parameters["retries"].default == RETRIES


@pytest.mark.parametrize("number", [0, 2])
def test_it_ends_after_the_given_number(service: tuple[Service, str], number: int) -> None:
    servicer, url = service
    servicer.failing.extend([StatusCode.RESOURCE_EXHAUSTED] * 10)
    with (
        NoduleClient(url, retries=number) as client,
        pytest.raises(InputError, match=r"nodule_0: .* is busy \(a failure\): try again later"),
    ):
        list(client.ask(_vois(QUICK)))
    assert servicer.asked == number + 1


def _interrupted(client: NoduleClient, servicer: Service) -> None:
    answers = client.ask(_vois(QUICK, QUICK, QUICK, QUICK, QUICK))
    next(answers)
    while servicer.asked < 4:
        time.sleep(0.01)
    raise KeyboardInterrupt


def test_after_ctrl_c_nothing_is_sent_again(service: tuple[Service, str], monkeypatch: pytest.MonkeyPatch) -> None:
    servicer, url = service
    monkeypatch.setattr(retries, "_FIRST_S", 10.0)
    servicer.failing.extend([StatusCode.RESOURCE_EXHAUSTED] * 3)
    with pytest.raises(KeyboardInterrupt), NoduleClient(url) as client:
        _interrupted(client, servicer)
    assert servicer.asked == 4


def test_a_server_that_comes_back_is_asked_again(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    servicer = Service()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(serving(servicer))
        client = stack.enter_context(NoduleClient(url, retries=12))
        assert len(list(client.ask(_vois(QUICK)))) == 1
        first.close()
        servicer.regions.clear()
        port = int(url.rpartition(":")[2])
        timer = threading.Timer(0.3, lambda: stack.enter_context(serving(servicer, port)))
        timer.start()
        answers = dict(client.ask(_vois(QUICK, QUICK)))
        timer.join()
    assert sorted(answers) == [0, 1]
    assert _said(caplog)


def test_a_server_that_was_never_there_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with NoduleClient("http://localhost:9") as client, pytest.raises(InputError, match="no Triton server answers HTTP"):
        client.describe()
    assert _said(caplog) == []
