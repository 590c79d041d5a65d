"""A model server of the tests' own, over gRPC and over HTTP, which notices a caller that hangs up."""

from __future__ import annotations

import contextlib
import json
import mmap
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from lung_nodule.deployment.repository.model_repository import TEMPLATES, read_config

SHAPE = (4, 3, 2)
QUICK, SLOW, REFUSED = 0.0, 1.0, 2.0
LONGER_S = 0.3
STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
}
"""What Triton, and a proxy, answer over HTTP."""


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers the slow ones a while after a quick or a refused one, and counts the callers who have hung up by then.

    An answer's malignancy is the centre that was sent. Nothing is answered before ``least`` requests are under way.
    """

    def __init__(self) -> None:
        self.one_is_done = threading.Event()
        self._lock = threading.Condition()
        self.least = 1
        self._running = self.most = self.answered = self.abandoned = self.asked = self.registered = 0
        self.failing: deque[grpc.StatusCode] = deque()
        self.regions: dict[str, str] = {}
        self.opens_memory = True
        self.through_memory: list[bool] = []

    def ModelInfer(
        self, request: service_pb2.ModelInferRequest, context: grpc.ServicerContext
    ) -> service_pb2.ModelInferResponse:
        with self._lock:
            self.asked += 1
            failure = self.failing.popleft() if self.failing else None
        if failure is not None:
            context.abort(failure, "a failure")
        values = self._values(request, context)
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            self._lock.notify_all()
            enough = self._lock.wait_for(lambda: self.most >= self.least, timeout=30)
        assert enough, f"the caller does not send {self.least} requests side by side"
        kind = values["VOI"][0]
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
        return _response(request, values)

    def RepositoryIndex(self, request: object, context: grpc.ServicerContext) -> service_pb2.RepositoryIndexResponse:
        return service_pb2.RepositoryIndexResponse(models=[{"name": "nodule_panel", "state": "READY"}])

    def ModelConfig(self, request: object, context: grpc.ServicerContext) -> service_pb2.ModelConfigResponse:
        return service_pb2.ModelConfigResponse(config=read_config(TEMPLATES / "mtnet" / "config.pbtxt"))

    def SystemSharedMemoryRegister(self, request, context: grpc.ServicerContext):
        if not self.opens_memory:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Unable to open shared memory region")
        with self._lock:
            self.registered += 1
            self.regions[request.name] = f"/dev/shm{request.key}"
        return service_pb2.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(self, request, context: grpc.ServicerContext):
        self.regions.pop(request.name, None)
        return service_pb2.SystemSharedMemoryUnregisterResponse()

    def _values(self, request: service_pb2.ModelInferRequest, context: grpc.ServicerContext) -> dict[str, np.ndarray]:
        raw, values = iter(request.raw_input_contents), {}
        for tensor in request.inputs:
            region = tensor.parameters["shared_memory_region"].string_param
            if tensor.name == "VOI":
                self.through_memory.append(bool(region))
            if region and region not in self.regions:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Unable to find shared memory region: '{region}'")
            size = tensor.parameters["shared_memory_byte_size"].int64_param
            content = _shared(self.regions[region], size) if region else next(raw)
            values[tensor.name] = np.frombuffer(content, np.float32)
        return values


def _shared(path: str, size: int) -> bytes:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as memory:
        return memory[:size]


def _response(request: service_pb2.ModelInferRequest, values: dict[str, np.ndarray]) -> service_pb2.ModelInferResponse:
    response = service_pb2.ModelInferResponse(model_name=request.model_name)
    center = values["CENTER"][:1]
    for output in request.outputs:
        value = np.zeros(SHAPE, np.float32)
        if output.name.startswith("MALIGNANCY"):
            value = np.repeat(center, 2) if output.name.endswith("INTERVAL") else center
        response.outputs.add(name=output.name, datatype="FP32", shape=value.shape)
        response.raw_output_contents.append(value.tobytes())
    return response


@contextlib.contextmanager
def serving_grpc(servicer: Service, port: int = 0) -> Iterator[str]:
    """The service's ``host:port``."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    url = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield url
    finally:
        servicer.one_is_done.set()
        server.stop(grace=None).wait()


@contextlib.contextmanager
def serving_http(servicer: Service, port: int = 0) -> Iterator[str]:
    """The service's URL; when it ends, its connections do."""
    open_sockets: set[socket.socket] = set()
    handler = type("Handler", (_Handler,), {"servicer": servicer, "open_sockets": open_sockets})
    server = _Server(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        servicer.one_is_done.set()
        server.shutdown()
        server.server_close()
        for connection in open_sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serving_page(page: bytes) -> Iterator[str]:
    """The URL of something that answers every request with status 200 and the same page."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        request.send_response(200)
        request.send_header("Content-Length", str(len(page)))
        request.end_headers()
        request.wfile.write(page)

    quiet = {"do_GET": answer, "do_POST": answer, "log_message": lambda *_: None}
    server = _Server(("127.0.0.1", 0), type("Page", (BaseHTTPRequestHandler,), quiet))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A caller that has left."""


class _Aborted(Exception):
    pass


class _Context:
    """What the service asks of a gRPC context, of an HTTP connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.when_done: list[Callable[[], object]] = []

    def add_callback(self, callback: Callable[[], object]) -> None:
        self.when_done.append(callback)

    def is_active(self) -> bool:
        readable, _, _ = select.select([self._connection], [], [], 0)
        return not readable or bool(self._connection.recv(1, socket.MSG_PEEK))

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise _Aborted(STATUS[code], details)


class _Handler(BaseHTTPRequestHandler):
    """Triton's HTTP protocol, as far as the client speaks it, in front of the service."""

    protocol_version = "HTTP/1.1"
    servicer: Service
    open_sockets: set[socket.socket]

    def setup(self) -> None:
        super().setup()
        self.open_sockets.add(self.connection)

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        config = self.servicer.ModelConfig(None, None).config
        self._send(200, json.dumps(MessageToDict(config, preserving_proto_field_name=True)).encode())

    def do_POST(self) -> None:
        body, context = self.rfile.read(int(self.headers["Content-Length"])), _Context(self.connection)
        try:
            if self.path.endswith("/infer"):
                self._infer(body, context)
            elif region := re.fullmatch(r"/v2/systemsharedmemory/region/(\w+)/(\w+)", self.path):
                key = json.loads(body).get("key", "") if body else ""
                request = service_pb2.SystemSharedMemoryRegisterRequest(name=region[1], key=key)
                getattr(self.servicer, f"SystemSharedMemory{region[2].capitalize()}")(request, context)
                self._send(200, b"")
            else:
                index = MessageToDict(self.servicer.RepositoryIndex(None, context))
                self._send(200, json.dumps(index["models"]).encode())
        except _Aborted as aborted:
            self._send(aborted.args[0], json.dumps({"error": aborted.args[1]}).encode())
        finally:
            for callback in context.when_done:
                callback()

    def _infer(self, body: bytes, context: _Context) -> None:
        length = int(self.headers.get("Inference-Header-Content-Length", len(body)))
        asked, rest = json.loads(body[:length]), body[length:]
        request = service_pb2.ModelInferRequest(model_name=self.path.split("/")[3])
        for tensor in asked["inputs"]:
            of_tensor = request.inputs.add(name=tensor["name"])
            given = tensor["parameters"]
            if "shared_memory_region" in given:
                of_tensor.parameters["shared_memory_region"].string_param = given["shared_memory_region"]
                of_tensor.parameters["shared_memory_byte_size"].int64_param = given["shared_memory_byte_size"]
            else:
                size = given["binary_data_size"]
                request.raw_input_contents.append(rest[:size])
                rest = rest[size:]
        for tensor in asked["outputs"]:
            request.outputs.add(name=tensor["name"])
        response = self.servicer.ModelInfer(request, context)
        contents = list(response.raw_output_contents)
        outputs = [
            {"name": out.name, "datatype": "FP32", "shape": [*out.shape], "parameters": {"binary_data_size": len(raw)}}
            for out, raw in zip(response.outputs, contents, strict=True)
        ]
        header = json.dumps({"model_name": response.model_name, "outputs": outputs}).encode()
        self._send(200, header + b"".join(contents), {"Inference-Header-Content-Length": str(len(header))})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
