"""The client against a gRPC service of the test's own, which notices a caller that hangs up."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from lung_nodule.deployment.client import NoduleClient
from lung_nodule.deployment.voi import Voi
from lung_nodule.io import InputError, Volume

SHAPE = (4, 3, 2)
QUICK, SLOW, REFUSED = 0.0, 1.0, 2.0
LONGER_S = 0.3


def _vois(*kinds: float) -> list[Voi]:
    """VOIs whose voxels tell the service how to answer."""
    box = tuple(slice(0, size) for size in SHAPE)
    volumes = [Volume(np.full(SHAPE, kind, dtype=np.float32), np.eye(4)) for kind in kinds]
    return [Voi(f"nodule_{index}", volume, box, np.ones(3)) for index, volume in enumerate(volumes)]


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers the slow ones a while after a quick or a refused one, and counts the callers who have hung up by then."""

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
        if kind == SLOW:
            assert self.one_is_done.wait(timeout=30), "the caller does not send its requests side by side"
            time.sleep(LONGER_S)
        with self._lock:
            self._running -= 1
            self.answered += context.is_active()
            self.abandoned += not context.is_active()
        self.one_is_done.set()
        if kind == REFUSED:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a reason")
        return _response(request)


def _response(request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
    response = service_pb2.ModelInferResponse(model_name=request.model_name)
    for output in request.outputs:
        shape = [1] if output.name.startswith("MALIGNANCY") else SHAPE
        response.outputs.add(name=output.name, datatype="FP32", shape=shape)
        response.raw_output_contents.append(np.full(shape, 0.25, dtype=np.float32).tobytes())
    return response


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    """The service and its ``host:port``."""
    servicer, server = Service(), grpc.server(ThreadPoolExecutor(8))
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
    assert sorted(answers) == [0, 1, 2, 3, 4]
    assert answers[3].fine.shape == SHAPE
    assert answers[3].malignancy == 0.25
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


def test_an_answer_that_takes_too_long_is_an_error_in_time(service: tuple[Service, str]) -> None:
    _, url = service
    with pytest.raises(InputError, match="did not answer in time"), NoduleClient(url, timeout_s=0.1) as client:
        list(client.ask(_vois(SLOW)))
