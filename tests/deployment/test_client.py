"""The client against a service of the test's own, which notices a caller that hangs up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.connection.transport import Address
from lung_nodule.deployment.connection.voi_memory import PREFIX
from lung_nodule.errors import InputError
from lung_nodule.io import Voi, Volume
from tests.deployment.fake_triton import QUICK, REFUSED, SHAPE, SLOW, Service, serving_grpc, serving_http, serving_page

ROOT = Path(__file__).resolve().parents[2]


def _vois(*kinds: float) -> list[Voi]:
    """VOIs whose voxels control the service's answer; the position is in the centre."""
    box = tuple(slice(0, size) for size in SHAPE)
    volumes = [Volume(np.full(SHAPE, kind, dtype=np.float32), np.eye(4)) for kind in kinds]
    return [Voi(f"nodule_{index}", volume, box, np.full(3, index / 8)) for index, volume in enumerate(volumes)]


@pytest.fixture(params=[serving_grpc, serving_http], ids=["grpc", "http"])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[Service, str]]:
    """The service and its URL, over either protocol."""
    servicer = Service()
    with request.param(servicer) as url:
        yield servicer, url


def _counts(servicer: Service) -> tuple[int, int]:
    return servicer.answered, servicer.abandoned


def test_every_voi_is_answered_under_its_own_position(service: tuple[Service, str]) -> None:
    servicer, url = service
    with NoduleClient(url, in_flight=3) as client:
        answers = dict(client.ask(_vois(SLOW, QUICK, QUICK, SLOW, QUICK)))
    assert {index: answer.malignancy for index, answer in answers.items()} == {k: k / 8 for k in range(5)}
    assert answers[3].maps["fine"].shape == SHAPE
    assert servicer.most <= 3
    assert _counts(servicer) == (5, 0)


def test_leaving_early_waits_for_the_answers_under_way(service: tuple[Service, str]) -> None:
    """A request that is cancelled can crash Triton 2.51, and then nobody is answered any more."""
    servicer, url = service
    servicer.least = 4
    with NoduleClient(url, in_flight=4) as client:
        next(client.ask(_vois(SLOW, QUICK, SLOW, SLOW, SLOW)))
    assert _counts(servicer) == (4, 0)


def test_a_refusal_waits_for_the_answers_under_way(service: tuple[Service, str]) -> None:
    servicer, url = service
    servicer.least = 4
    with pytest.raises(InputError, match=r"^nodule nodule_2: .* refused: a reason"), NoduleClient(url) as client:
        list(client.ask(_vois(SLOW, SLOW, REFUSED, SLOW, SLOW)))
    assert _counts(servicer) == (4, 0)


def _interrupted(client: NoduleClient) -> None:
    for _ in client.ask(_vois(QUICK, SLOW, SLOW, SLOW, SLOW)):
        raise KeyboardInterrupt


def test_ctrl_c_waits_for_the_answers_under_way(service: tuple[Service, str]) -> None:
    servicer, url = service
    servicer.least = 4
    with pytest.raises(KeyboardInterrupt), NoduleClient(url) as client:
        _interrupted(client)
    assert _counts(servicer) == (4, 0)


def test_an_answer_that_takes_too_long_is_an_error(service: tuple[Service, str]) -> None:
    _, url = service
    with pytest.raises(InputError, match="did not answer in time"), NoduleClient(url, timeout_s=0.1) as client:
        list(client.ask(_vois(SLOW)))


@pytest.mark.parametrize("url", ["localhost:9", "http://localhost:9"])
def test_a_server_that_is_gone_is_reported_with_the_nodule(url: str) -> None:
    client = NoduleClient(url)
    client._served = ServedModel("nodule_panel", "1", 32.0, 0.0, ("VOI",), ("MALIGNANCY_PROBABILITY",), {})
    with client, pytest.raises(InputError, match=r"^nodule nodule_0: .*:9 is gone"):
        list(client.ask(_vois(QUICK)))


@pytest.mark.parametrize(("url", "protocol"), [("localhost:9", "gRPC"), ("http://localhost:9", "HTTP")])
def test_a_server_that_is_not_there_is_reported(url: str, protocol: str) -> None:
    with pytest.raises(InputError, match=f"no Triton server answers {protocol} at {url}"):
        NoduleClient(url).describe()


@pytest.mark.parametrize(
    "url",
    ["ftp://localhost:8000", "http://", "https:///", "http://localhost:abc", "localhost:99999", "https://host:0/path"],
)
def test_an_address_that_cannot_be_read_is_named(url: str) -> None:
    with pytest.raises(InputError, match=f"server address '{url}'"):
        NoduleClient(url)


@pytest.mark.parametrize("target", ["host", "host:8001", "[::1]", "[::1]:8001", "host:8000/triton"])
def test_an_address_may_leave_its_port_out(target: str) -> None:
    assert Address.parse(f"http://{target}").target == target


def test_a_page_that_is_no_triton_is_an_error() -> None:
    """Such as the login page of a network: status 200, and HTML."""
    with (
        serving_page(b"<html>log in</html>") as url,
        NoduleClient(url) as client,
        pytest.raises(InputError, match="what answers there is not Triton"),
    ):
        client.describe()


def test_this_machine_is_asked_without_a_proxy(service: tuple[Service, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """That the environment names a proxy, as in many hospitals, concerns other machines."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with NoduleClient(service[1], retries=0) as client:
        assert dict(client.ask(_vois(QUICK)))[0].malignancy == 0.0


def test_outputs_are_asked_for_by_name(service: tuple[Service, str]) -> None:
    with NoduleClient(service[1]) as client:
        (_, answer), *_ = client.ask(_vois(QUICK), outputs=["MALIGNANCY_PROBABILITY"])
        assert (answer.malignancy, answer.maps) == (0.0, {})
        for outputs in (["MASK"], ["NO_SUCH"], []):
            with pytest.raises(InputError, match=r"name some of .*MALIGNANCY_PROBABILITY"):
                list(client.ask(_vois(QUICK), outputs=outputs))


@pytest.mark.parametrize("url", ["localhost:8001", "grpc://host:8001", "http://host:8000"])
def test_a_token_goes_over_encrypted_connections_alone(url: str) -> None:
    with pytest.raises(InputError, match=f"unencrypted to {url}"):
        NoduleClient(url, token="secret")


def test_the_wrong_protocol_is_an_error_that_names_both(service: tuple[Service, str]) -> None:
    _, url = service
    other = url.removeprefix("http://") if url.startswith("http") else f"http://{url}"
    with (
        NoduleClient(other) as client,
        pytest.raises(InputError, match=r"not an HTTP endpoint|no Triton server.*http://"),
    ):
        client.describe()


def test_no_connection_and_no_event_loop_is_left(service: tuple[Service, str]) -> None:
    """Each of the four threads opens at least one file; a few of the service's own may not be closed yet."""
    left = []
    for _ in range(8):
        with NoduleClient(service[1], in_flight=4) as client:
            list(client.ask(_vois(QUICK, QUICK, QUICK, QUICK)))
        left.append(len(list(Path("/proc/self/fd").iterdir())))
    assert left[-1] < left[0] + 4 * 4, left


INTERRUPTED_AGAIN_AND_AGAIN = """
import random, signal, sys
import numpy as np
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.repository.model_repository import TEMPLATES, read_config
from lung_nodule.io import Voi, Volume

def interrupt(*_):
    raise KeyboardInterrupt

voi = Voi("large", Volume(np.zeros((96, 96, 96), dtype=np.float32), np.eye(4)), (slice(0, 96),) * 3, np.ones(3))
signal.signal(signal.SIGALRM, interrupt)
random.seed(0)
rounds = 0
for _ in range(int(sys.argv[2])):
    try:
        with NoduleClient(sys.argv[1]) as client:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.1))
            for _ in client.ask([voi] * 1000):
                pass
    except KeyboardInterrupt:
        rounds += 1
print(rounds)
"""


@pytest.mark.slow
def test_ctrl_c_at_any_moment_neither_hangs_nor_abandons(service: tuple[Service, str]) -> None:
    """It strikes between any two steps of the main thread; one of gRPC's locks left taken there would hang for ever."""
    servicer, url = service
    rounds = "20" if url.startswith("http") else "60"  # HTTP takes no lock that the threads share
    command = [sys.executable, "-c", INTERRUPTED_AGAIN_AND_AGAIN, url, rounds]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said, errors = process.communicate(timeout=300)
    assert said == f"{rounds}\n", errors
    assert servicer.answered > 0
    assert servicer.abandoned == 0
    assert not list(Path("/dev/shm").glob(f"{PREFIX}{process.pid}_*"))
    assert servicer.regions == {}
