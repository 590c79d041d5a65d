"""VOIs through shared memory: what the server gets, what is left, and what happens where it cannot be."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.connection import retries
from lung_nodule.deployment.connection.transport import Address
from lung_nodule.deployment.connection.voi_memory import PREFIX
from lung_nodule.errors import InputError
from lung_nodule.io import Voi, Volume
from tests.deployment.fake_triton import QUICK, REFUSED, Service, serving_grpc, serving_http
from tests.deployment.test_client import _vois

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=[serving_grpc, serving_http], ids=["grpc", "http"])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[Service, str]]:
    servicer = Service()
    with request.param(servicer) as url:
        yield servicer, url


def _regions(process: int | None = None) -> set[str]:
    """Those that a process (by default this one) has made."""
    return {path.name for path in Path("/dev/shm").glob(f"{PREFIX}{process or os.getpid()}_*")}


def _large(number: int) -> Voi:
    shape = (30 + number, 20, 10)
    volume = Volume(np.full(shape, QUICK, dtype=np.float32), np.eye(4))
    return Voi(f"large_{number}", volume, tuple(slice(0, size) for size in shape), np.full(3, number / 8))


def test_vois_go_through_a_region_of_each_request_under_way(service: tuple[Service, str]) -> None:
    servicer, url = service
    with NoduleClient(url, in_flight=2, shared_memory=True) as client:
        answers = dict(client.ask(_vois(*[QUICK] * 8)))
        assert servicer.registered <= 2
        assert len(_regions()) == servicer.registered
        assert sorted(_regions()) == sorted(servicer.regions)
    assert {index: answer.malignancy for index, answer in answers.items()} == {k: k / 8 for k in range(8)}
    assert servicer.through_memory == [True] * 8
    assert servicer.regions == {}
    assert _regions() == set()


def test_a_larger_voi_gets_a_larger_region(service: tuple[Service, str]) -> None:
    servicer, url = service
    with NoduleClient(url, in_flight=1, shared_memory=True) as client:
        answers = dict(client.ask([*_vois(QUICK), _large(1), _large(2), *_vois(QUICK)]))
        assert len(_regions()) == len(servicer.regions) == 1
    assert [answers[index].malignancy for index in range(4)] == [0, 1 / 8, 2 / 8, 0]
    assert servicer.registered == 3
    assert servicer.through_memory == [True] * 4
    assert _regions() == set()


def test_without_it_nothing_is_registered(service: tuple[Service, str]) -> None:
    servicer, url = service
    with NoduleClient(url, shared_memory=False) as client:
        list(client.ask(_vois(QUICK)))
    assert servicer.through_memory == [False]
    assert servicer.registered == 0


def test_a_server_that_cannot_open_it_gets_the_vois_in_its_requests(
    service: tuple[Service, str], caplog: pytest.LogCaptureFixture
) -> None:
    servicer, url = service
    servicer.opens_memory = False
    caplog.set_level(logging.INFO)
    with NoduleClient(url, in_flight=1, shared_memory=True) as client:
        assert len(dict(client.ask(_vois(QUICK, QUICK, QUICK)))) == 3
    assert servicer.through_memory == [False] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "no shared memory with the server (Unable to open shared memory region): VOIs go in the requests"
    ]
    assert _regions() == set()


def test_no_room_is_no_error(
    service: tuple[Service, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    servicer, url = service
    monkeypatch.setattr(os, "posix_fallocate", full)
    caplog.set_level(logging.INFO)
    with NoduleClient(url, in_flight=1, shared_memory=True) as client:
        list(client.ask(_vois(QUICK)))
    assert servicer.through_memory == [False]
    assert "no region of 96 bytes can be made ([Errno 28] No space left on device)" in caplog.text
    assert _regions() == set()


def test_a_server_that_was_restarted_opens_it_again(service: tuple[Service, str]) -> None:
    servicer, url = service
    with NoduleClient(url, in_flight=1, shared_memory=True) as client:
        list(client.ask(_vois(QUICK)))
        servicer.regions.clear()
        ((_, answer),) = client.ask([_large(3)])
        list(client.ask(_vois(QUICK)))
        servicer.regions.clear()
        list(client.ask(_vois(QUICK)))
        assert len(_regions()) == len(servicer.regions) == 1
    assert answer.malignancy == 3 / 8
    assert all(servicer.through_memory)
    assert _regions() == set()


def test_a_busy_server_is_asked_again_through_the_same_region(
    service: tuple[Service, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_FIRST_S", 0.02)
    monkeypatch.setattr(retries, "_JITTER_S", 0.01)
    servicer, url = service
    with NoduleClient(url, in_flight=1, shared_memory=True) as client:
        servicer.failing.extend([grpc.StatusCode.RESOURCE_EXHAUSTED] * 2)
        list(client.ask(_vois(QUICK)))
        assert servicer.registered == len(servicer.regions) == 1
    assert _regions() == set()


def _fails(client: NoduleClient, error: type[BaseException]) -> None:
    for _ in client.ask(_vois(QUICK, QUICK, QUICK)):
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(service: tuple[Service, str], error: type[BaseException]) -> None:
    servicer, url = service
    with pytest.raises(error), NoduleClient(url, shared_memory=True) as client:
        _fails(client, error)
    with pytest.raises(InputError, match="refused"), NoduleClient(url, shared_memory=True) as client:
        list(client.ask(_vois(QUICK, REFUSED, QUICK)))
    assert servicer.regions == {}
    assert _regions() == set()


KILLED = """
import os, signal, sys
from lung_nodule.deployment.client import NoduleClient
from tests.deployment.test_client_memory import _large

with NoduleClient(sys.argv[1]) as client:
    list(client.ask([_large(1), _large(2)]))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_client_leaves_no_memory() -> None:
    servicer = Service()
    with serving_grpc(servicer) as url:
        process = subprocess.Popen([sys.executable, "-c", KILLED, url], cwd=ROOT)
        assert process.wait(timeout=120) == -signal.SIGKILL
    assert servicer.through_memory == [True, True]
    deadline = time.monotonic() + 30
    while _regions(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _regions(process.pid) == set()


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("localhost:8001", True),
        ("http://127.0.0.1:8000/path", True),
        ("grpc://[::1]:8001", True),
        ("unix:///run/triton", True),
        ("127.0.0.1", True),
        ("https://hospital.example:443", False),
        ("10.0.0.7:8001", False),
    ],
)
def test_which_addresses_are_of_this_machine(url: str, local: bool) -> None:
    assert Address.parse(url).local is local
