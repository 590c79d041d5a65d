"""Connection over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lung_nodule.deployment.connection.transport import (
    ASK_TIMEOUT_S,
    DEAD_MODEL,
    Address,
    Failure,
    Transport,
    TransportError,
    certificates,
)
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 4000),  # else up to 120 s after a server is back
]
_DIRECT = ("grpc.enable_http_proxy", 0)
"""To this machine not through the proxy that the environment names."""
_FAILURES = {
    "UNAVAILABLE": Failure.UNREACHABLE,
    "RESOURCE_EXHAUSTED": Failure.BUSY,
    "DEADLINE_EXCEEDED": Failure.TIMEOUT,
}


class GrpcTransport(Transport):
    """See :class:`Transport`."""

    library = grpc
    protocol = "gRPC"

    def __init__(self, address: Address, token: str | None = None) -> None:
        super().__init__(address, token)
        self._client = grpc.InferenceServerClient(
            address.target,
            ssl=address.tls,
            root_certificates=certificates() if address.tls else None,
            channel_args=[*_CHANNEL, *([_DIRECT] if address.local else [])],
        )

    def index(self) -> list[Mapping[str, Any]]:
        """See :meth:`Transport.index`."""
        return self._call("get_model_repository_index", ASK_TIMEOUT_S, as_json=True).get("models", [])

    def config(self, model: str) -> Mapping[str, Any]:
        """See :meth:`Transport.config`."""
        return self._call("get_model_config", ASK_TIMEOUT_S, model, as_json=True)["config"]

    def close(self) -> None:
        """See :meth:`Transport.close`."""
        self._client.close()

    def _call(self, method: str, timeout_s: float, *arguments: Any, **options: Any) -> Any:
        call = getattr(self._client, method)
        try:
            return call(*arguments, **options, headers=self._headers, client_timeout=timeout_s)
        except InferenceServerException as error:
            raise TransportError(_failure(error), str(error.message())) from None


def _failure(error: InferenceServerException) -> Failure:
    if "larger than max" in str(error.message()):  # also RESOURCE_EXHAUSTED, but permanent
        return Failure.REFUSED
    if DEAD_MODEL in str(error.message()):
        return Failure.BUSY
    return _FAILURES.get(str(error.status()).removeprefix("StatusCode."), Failure.REFUSED)
