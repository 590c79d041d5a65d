"""The gRPC proxy: it forwards everything but a cancellation, and Triton outlives clients that hang up."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient import grpc as of_grpc
from tritonclient import http as of_http
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from lung_nodule.deployment.client import request_inputs
from lung_nodule.deployment.server.canary import CanaryError, ask_canary
from lung_nodule.deployment.server.grpc_guard import GrpcGuard
from lung_nodule.deployment.server.server import TritonServer
from tests.deployment.conftest import ball_voi

VOI = ball_voi("small", (32, 32, 4), (1.0, 1.0, 2.5))
DEADLINE_S, LONGEST_S = 0.5, 60.0


class Upstream(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers while it is not held; counts requests and cancellations."""

    def __init__(self) -> None:
        self.answered = self.cancelled = 0
        self.free = threading.Event()
        self.free.set()
        self._lock = threading.Lock()

    def ModelInfer(self, request, context: grpc.ServicerContext):
        if request.model_name == "refused":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a reason")
        assert self.free.wait(LONGEST_S), "nobody frees the server"
        with self._lock:
            self.answered += context.is_active()
            self.cancelled += not context.is_active()
        return service_pb2.ModelInferResponse(
            model_name=request.model_name, id=dict(context.invocation_metadata())["x"]
        )

    def ModelStreamInfer(self, requests, context: grpc.ServicerContext):
        for request in requests:
            yield service_pb2.ModelStreamInferResponse(infer_response={"model_name": request.model_name})


@pytest.fixture
def upstream() -> Iterator[tuple[Upstream, str]]:
    servicer, server = Upstream(), grpc.server(ThreadPoolExecutor(8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(grace=None).wait()


@contextlib.contextmanager
def guarded(upstream: str, **options: int) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
    """A client of a guard in front of the upstream."""
    with grpc_port() as port:
        address = f"127.0.0.1:{port}"
    guard = GrpcGuard(address, upstream, **options)
    guard.start()
    try:
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            yield service_pb2_grpc.GRPCInferenceServiceStub(channel)
    finally:
        guard.stop()


@contextlib.contextmanager
def grpc_port() -> Iterator[int]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        yield free.getsockname()[1]


def _asked(name: str) -> service_pb2.ModelInferRequest:
    return service_pb2.ModelInferRequest(model_name=name)


def _is_answered(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> bool:
    with contextlib.suppress(grpc.RpcError):
        return stub.ModelInfer(_asked("net"), metadata=[("x", "again")]).id == "again"
    return False


def _wait_for(condition: Callable[[], bool]) -> None:
    last = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < last, "it does not come true"
        time.sleep(0.05)


def test_answers_metadata_errors_and_streams_go_through(upstream: tuple[Upstream, str]) -> None:
    with guarded(upstream[1]) as stub:
        answer = stub.ModelInfer(_asked("net"), metadata=[("x", "of the client")])
        assert (answer.model_name, answer.id) == ("net", "of the client")
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(_asked("refused"))
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "a reason")
        with pytest.raises(grpc.RpcError) as unknown:
            stub.ServerLive(service_pb2.ServerLiveRequest())
        assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED
        streamed = stub.ModelStreamInfer(iter([_asked("first"), _asked("second")]))
        assert [answer.infer_response.model_name for answer in streamed] == ["first", "second"]


def test_triton_is_reached_without_a_proxy(upstream: tuple[Upstream, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the guard nor the canary asks the proxy that the environment names."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with guarded(upstream[1]) as stub:
        assert _is_answered(stub)
    with pytest.raises(CanaryError, match=r"(?i)not implemented|unimplemented|method"):  # the upstream's own answer
        ask_canary(upstream[1])


def test_a_request_whose_client_leaves_is_computed_to_its_end(upstream: tuple[Upstream, str]) -> None:
    servicer, url = upstream
    with guarded(url) as stub:
        servicer.free.clear()
        for _ in range(3):
            stub.ModelInfer.future(_asked("net"), metadata=[("x", "1")]).cancel()
            with pytest.raises(grpc.RpcError, match="Deadline"):
                stub.ModelInfer(_asked("net"), metadata=[("x", "1")], timeout=DEADLINE_S)
        servicer.free.set()
        _wait_for(lambda: servicer.answered >= 3)
        assert servicer.cancelled == 0


def test_abandoned_work_is_bounded(upstream: tuple[Upstream, str]) -> None:
    servicer, url = upstream
    with guarded(url, abandoned=2) as stub:
        servicer.free.clear()
        for _ in range(2):
            with pytest.raises(grpc.RpcError, match="Deadline"):
                stub.ModelInfer(_asked("net"), metadata=[("x", "1")], timeout=DEADLINE_S)
        with pytest.raises(grpc.RpcError, match="2 requests of clients that have left") as refused:
            stub.ModelInfer(_asked("net"), metadata=[("x", "1")])
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        servicer.free.set()
        _wait_for(lambda: servicer.answered == 2)
        _wait_for(lambda: _is_answered(stub))


def test_the_canary_is_forwarded_beyond_the_bound(upstream: tuple[Upstream, str]) -> None:
    """Else a server that hangs would look like one that is busy for ever."""
    servicer, url = upstream
    with grpc_port() as port:
        address = f"127.0.0.1:{port}"
    guard = GrpcGuard(address, url, abandoned=0)
    guard.start()
    try:
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            metadata = [*guard.canary_headers.items(), ("x", "the canary")]
            assert stub.ModelInfer(_asked("net"), metadata=metadata).id == "the canary"
            (name,) = guard.canary_headers
            for others in ([("x", "1")], [("x", "1"), (name, "guessed")]):
                with pytest.raises(grpc.RpcError) as refused:
                    stub.ModelInfer(_asked("net"), metadata=others)
                assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        guard.stop()
    assert servicer.answered == 1


def test_an_address_in_use_is_named() -> None:
    with grpc_port() as port, pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
        GrpcGuard(f"127.0.0.1:{port}", "localhost:9").start()


def _leave_grpc(url: str, chance: random.Random) -> None:
    """A plain client with requests under way that hangs up, by a deadline or by closing."""
    client = of_grpc.InferenceServerClient(url)
    inputs = request_inputs(VOI)
    client.async_infer("mtnet", inputs, callback=lambda result, error: None)
    with contextlib.suppress(InferenceServerException):
        client.infer("mtnet", inputs, client_timeout=chance.uniform(0.002, 0.05))
    client.close()


def _leave_http(url: str, chance: random.Random) -> None:
    inputs = []
    for tensor, value in (("VOI", VOI.volume.data), ("SPACING", VOI.volume.spacing), ("CENTER", VOI.center)):
        item = of_http.InferInput(tensor, list(value.shape), "FP32")
        item.set_data_from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        inputs.append(item)
    with (
        of_http.InferenceServerClient(url, network_timeout=chance.uniform(0.01, 0.05)) as client,
        contextlib.suppress(Exception),
    ):
        client.infer("mtnet", inputs)


def _answered(url: str) -> list[str]:
    """The canary's answer, once the abandoned requests have ended."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return ask_canary(url)
        except CanaryError as error:
            if error.final or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("clients", [60, pytest.param(300, marks=pytest.mark.long)])
def test_triton_outlives_clients_that_leave(clients: int, repository: Path) -> None:
    """Without the proxy it has been killed by the fifth to the twenty-third gRPC client."""
    chance = random.Random(0)
    with TritonServer(repository) as server:
        started = server.pid
        for _ in range(clients):
            _leave_grpc(server.grpc_url, chance)
            _leave_http(server.http_url, chance)
        assert _answered(server.grpc_url) == ["mtnet"]
        assert server.pid == started
        assert server._triton is not None
        assert server._triton.ending is None
