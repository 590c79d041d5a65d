"""The client against a gRPC service of the test's own, which notices a caller that hangs up."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.model_repository import TEMPLATES, read_config
from lung_nodule.errors import InputError
from lung_nodule.io import Voi, Volume

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (4, 3, 2)
QUICK, SLOW, REFUSED = 0.0, 1.0, 2.0
LONGER_S = 0.3


def _vois(*kinds: float) -> list[Voi]:
    """VOIs whose voxels control the service's answer; the position is in the centre."""
    box = tuple(slice(0, size) for size in SHAPE)
    volumes = [Volume(np.full(SHAPE, kind, dtype=np.float32), np.eye(4)) for kind in kinds]
    return [Voi(f"nodule_{index}", volume, box, np.full(3, index / 8)) for index, volume in enumerate(volumes)]


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers the slow ones a while after a quick or a refused one, and counts the callers who have hung up by then.

    An answer's malignancy is the centre that was sent.
    """

    def __init__(self) -> None:
        self.one_is_done = threading.Event()
        self._lock = threading.Lock()
        self._running = self.most = self.answered = self.abandoned = 0

    def ModelInfer(
        self, request: service_pb2.ModelInferRequest, context: grpc.ServicerContext
    ) -> service_pb2.ModelInferResponse:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        kind = np.frombuffer(request.raw_input_contents[0], np.float32)[0]
        context.add_callback(self.one_is_done.set)
        if kind == SLOW:
            assert self.one_is_done.wait(timeout=30), "the caller does not send its requests side by side"
            time.sleep(LONGER_S)
        with self._lock:
            self._running -= 1
            self.answered += context.is_active()
            self.abandoned += not context.is_active()
        if kind == REFUSED:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a reason")
        return _response(request)

    def ModelReady(self, request: object, context: grpc.ServicerContext) -> service_pb2.ModelReadyResponse:
        return service_pb2.ModelReadyResponse(ready=True)

    def RepositoryIndex(self, request: object, context: grpc.ServicerContext) -> service_pb2.RepositoryIndexResponse:
        return service_pb2.RepositoryIndexResponse(models=[{"name": "nodule_panel", "state": "READY"}])

    def ModelConfig(self, request: object, context: grpc.ServicerContext) -> service_pb2.ModelConfigResponse:
        return service_pb2.ModelConfigResponse(config=read_config(TEMPLATES / "mtnet" / "config.pbtxt"))


def _response(request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
    response = service_pb2.ModelInferResponse(model_name=request.model_name)
    center = np.frombuffer(request.raw_input_contents[2], np.float32)[:1]
    for output in request.outputs:
        value = np.zeros(SHAPE, np.float32)
        if output.name.startswith("MALIGNANCY"):
            value = np.repeat(center, 2) if output.name.endswith("INTERVAL") else center
        response.outputs.add(name=output.name, datatype="FP32", shape=value.shape)
        response.raw_output_contents.append(value.tobytes())
    return response


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    """The service and its ``host:port``."""
    options = [("grpc.max_receive_message_length", -1)]
    servicer, server = Service(), grpc.server(ThreadPoolExecutor(8), options=options)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    servicer.one_is_done.set()
    server.stop(grace=None).wait()


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
    with NoduleClient(url, in_flight=4) as client:
        next(client.ask(_vois(SLOW, QUICK, SLOW, SLOW, SLOW)))
    assert _counts(servicer) == (4, 0)


def test_a_refusal_waits_for_the_answers_under_way(service: tuple[Service, str]) -> None:
    servicer, url = service
    with pytest.raises(InputError, match=r"^nodule nodule_2: .* refused: a reason"), NoduleClient(url) as client:
        list(client.ask(_vois(SLOW, SLOW, REFUSED, SLOW, SLOW)))
    assert _counts(servicer) == (4, 0)


def _interrupted(client: NoduleClient) -> None:
    for _ in client.ask(_vois(QUICK, SLOW, SLOW, SLOW, SLOW)):
        raise KeyboardInterrupt


def test_ctrl_c_waits_for_the_answers_under_way(service: tuple[Service, str]) -> None:
    servicer, url = service
    with pytest.raises(KeyboardInterrupt), NoduleClient(url) as client:
        _interrupted(client)
    assert _counts(servicer) == (4, 0)


def test_an_answer_that_takes_too_long_is_an_error(service: tuple[Service, str]) -> None:
    _, url = service
    with pytest.raises(InputError, match="did not answer in time"), NoduleClient(url, timeout_s=0.1) as client:
        list(client.ask(_vois(SLOW)))


def test_a_server_that_is_gone_is_reported_with_the_nodule() -> None:
    client = NoduleClient("localhost:9")
    client._served = ServedModel("nodule_panel", "1", 32.0, 0.0, ("VOI",), ("MALIGNANCY_PROBABILITY",), {})
    with client, pytest.raises(InputError, match=r"^nodule nodule_0: .*:9 is gone"):
        list(client.ask(_vois(QUICK)))


def test_a_server_that_is_not_there_is_reported() -> None:
    with pytest.raises(InputError, match="no Triton server answers gRPC at localhost:9"):
        NoduleClient("localhost:9").describe()


INTERRUPTED_AGAIN_AND_AGAIN = """
import random, signal, sys
import numpy as np
from lung_nodule.deployment.answers import ServedModel
from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.model_repository import TEMPLATES, read_config
from lung_nodule.io import Voi, Volume

def interrupt(*_):
    raise KeyboardInterrupt

voi = Voi("large", Volume(np.zeros((96, 96, 96), dtype=np.float32), np.eye(4)), (slice(0, 96),) * 3, np.ones(3))
signal.signal(signal.SIGALRM, interrupt)
random.seed(0)
rounds = 0
for _ in range(60):
    try:
        with NoduleClient(sys.argv[1]) as client:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.1))
            for _ in client.ask([voi] * 1000):
                pass
    except KeyboardInterrupt:
        rounds += 1
print(rounds)
"""


def test_ctrl_c_at_any_moment_neither_hangs_nor_abandons(service: tuple[Service, str]) -> None:
    """It strikes between any two steps of the main thread; one of gRPC's locks left taken there would hang for ever."""
    servicer, url = service
    command = [sys.executable, "-c", INTERRUPTED_AGAIN_AND_AGAIN, url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "60\n", done.stderr
    assert servicer.answered > 0
    assert servicer.abandoned == 0
