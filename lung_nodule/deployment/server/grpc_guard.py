"""gRPC proxy in front of Triton that does not forward cancellations.

A client that disconnects during ensemble requests can crash Triton 2.51 (Signal 11; triton-inference-server/server,
issues 7368 and 8034). Behind the proxy, its requests are completed and their answers dropped.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import grpc
import grpc.aio

ABANDONED = 64
"""Maximum number of running requests whose client has left; beyond it, new requests are refused."""
INFERENCE = "/inference.GRPCInferenceService/ModelInfer"
STREAMING = "/inference.GRPCInferenceService/ModelStreamInfer"
_ANY_SIZE = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_OWN_PORT = (("grpc.so_reuseport", 0),)
_DIRECT = ("grpc.enable_http_proxy", 0)
"""Not through the proxy that the environment names: Triton is on this machine."""
_RECONNECT = (("grpc.max_reconnect_backoff_ms", 1000),)  # else up to 120 s after the server is there
_STOP_S = 5.0
_CANARY = "x-lung-nodule-canary"


class GrpcGuard:
    """The proxy, running in its own thread.

    Args:
        address: ``host:port`` to listen on.
        upstream: ``host:port`` of Triton's own gRPC endpoint.
        abandoned: limit of abandoned requests, see :data:`ABANDONED`.

    Attributes:
        canary_headers: metadata with which an inference is forwarded beyond that limit, so that the health check can
            tell a busy server from one that hangs; the value is secret and random.

    Raises:
        OSError: on start, if the address cannot be used.
    """

    def __init__(self, address: str, upstream: str, *, abandoned: int = ABANDONED) -> None:
        self._address, self._upstream = address, upstream
        self.canary_headers: Mapping[str, str] = {_CANARY: secrets.token_hex(16)}
        self._forward = _Forwarding(abandoned, self.canary_headers[_CANARY])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpc_guard", daemon=True)
        self._server: grpc.aio.Server | None = None

    def start(self) -> None:
        """Start listening; return when clients can connect."""
        self._thread.start()
        try:
            self._wait_for(self._start())
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._address}: {error}") from None

    def stop(self) -> None:
        """Stop listening; running requests may take some more seconds."""
        if self._thread.is_alive():
            self._wait_for(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STOP_S)

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> None:
        self._forward.channel = grpc.aio.insecure_channel(self._upstream, options=(*_ANY_SIZE, *_RECONNECT, _DIRECT))
        self._server = grpc.aio.server(options=(*_ANY_SIZE, *_OWN_PORT))
        self._server.add_generic_rpc_handlers((self._forward,))
        self._server.add_insecure_port(self._address)
        await self._server.start()

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop(grace=_STOP_S)
        if self._forward.channel is not None:
            await self._forward.channel.close()


class _Forwarding(grpc.GenericRpcHandler):
    """Forwards every method as bytes.

    Args:
        limit: limit of abandoned requests.
        key: metadata value of requests that are forwarded beyond it.
    """

    def __init__(self, limit: int, key: str) -> None:
        self.channel: grpc.aio.Channel | None = None
        self._limit, self._key = limit, key
        self._abandoned: set[asyncio.Task] = set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = handler_call_details.method
        if method == STREAMING:
            return grpc.stream_stream_rpc_method_handler(partial(self._stream, method))
        return grpc.unary_unary_rpc_method_handler(partial(self._unary, method))

    async def _unary(self, method: str, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if method == INFERENCE:
            await self._refuse_many(context)
        assert self.channel is not None
        call: Callable = self.channel.unary_unary(method)
        task = asyncio.ensure_future(_await(call(request, metadata=context.invocation_metadata())))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._keep(task)
            raise
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
            raise

    async def _stream(
        self, method: str, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        await self._refuse_many(context)
        assert self.channel is not None
        call = self.channel.stream_stream(method)(metadata=context.invocation_metadata())
        answers: asyncio.Queue[bytes | None] = asyncio.Queue()
        sending = asyncio.ensure_future(_send(requests, call))
        reading = asyncio.ensure_future(_read(call, answers))
        try:
            while (answer := await answers.get()) is not None:
                yield answer
            await sending
            await reading
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        finally:
            for task in (sending, reading):
                if not task.done():
                    self._keep(task)

    async def _refuse_many(self, context: grpc.aio.ServicerContext) -> None:
        is_canary = (_CANARY, self._key) in [tuple(entry) for entry in context.invocation_metadata() or ()]
        if len(self._abandoned) >= self._limit and not is_canary:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{len(self._abandoned)} requests of clients that have left are still under way: try again later",
            )

    def _keep(self, task: asyncio.Task) -> None:
        """Keep an abandoned task until it ends, and discard its result."""
        self._abandoned.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()


async def _await(call: Any) -> bytes:
    return await call


async def _send(requests: AsyncIterator[bytes], call: Any) -> None:
    """Forward a client's requests until it has no more or disconnects."""
    try:
        async for request in requests:
            await call.write(request)
    except asyncio.CancelledError:
        pass
    finally:
        await call.done_writing()


async def _read(call: Any, answers: asyncio.Queue[bytes | None]) -> None:
    """Queue the answers, then None."""
    try:
        async for answer in call:
            await answers.put(answer)
    finally:
        await answers.put(None)
