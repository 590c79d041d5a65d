"""Base class of the connections to a Triton server over gRPC and HTTP."""

from __future__ import annotations

import ipaddress
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from lung_nodule.errors import InputError

ASK_TIMEOUT_S = 10.0
"""Timeout of requests other than inference."""
_SCHEMES = {"grpc": (False, False), "grpcs": (False, True), "http": (True, False), "https": (True, True)}


class Failure(Enum):
    """Reason why a call failed."""

    UNREACHABLE = "no connection, or one that broke"
    BUSY = "a server that cannot answer now"
    TIMEOUT = "no answer in time"
    REFUSED = "a request that will never be answered"


DEAD_MODEL = "is not healthy"
"""Part of Triton's message about a Python model whose process has died; ``serve`` restarts the server then."""


class TransportError(Exception):
    """A failed call, with the message of the server or the network."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


@dataclass(frozen=True)
class Address:
    """Address of a server.

    Attributes:
        target: ``host:port``, for HTTP also with a path, or ``unix:`` and a path.
        http: whether it is an HTTP endpoint rather than gRPC.
        tls: whether the connection is encrypted.
    """

    target: str
    http: bool = False
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse ``host:port`` or ``unix:path`` (gRPC), or a URL with the scheme grpc, grpcs, http or https.

        Raises:
            InputError: the scheme is unknown, the host is missing, or the port is none.
        """
        scheme, found, rest = url.partition("://")
        if not found or scheme == "unix":
            scheme, rest = "grpc", url
        if scheme not in _SCHEMES or not rest.strip("/"):
            raise InputError(f"server address {url!r}: give host:port, or {', '.join(_SCHEMES)} :// host:port")
        http, tls = _SCHEMES[scheme]
        port = rest.partition("/")[0].rpartition(":")[2]
        if not rest.startswith("unix:") and ":" in rest.partition("/")[0] and not _is_port(port):
            raise InputError(f"server address {url!r}: {port!r} is no port, which is a number from 1 to 65535")
        return cls(rest if rest.startswith("unix:") else rest.rstrip("/"), http, tls)

    @property
    def local(self) -> bool:
        """Whether the host is this machine by name; a forwarded port cannot be told apart."""
        if self.target.startswith("unix:"):
            return True
        host = self.target.partition("/")[0].rpartition(":")[0].strip("[]") or self.target
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def _is_port(text: str) -> bool:
    """Whether this is a port; the end of an IPv6 address without one is in brackets."""
    return text.endswith("]") or (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535)


@dataclass(frozen=True)
class Placed:
    """A tensor in system shared memory.

    Attributes:
        region: name of the registered region.
        shape: shape of the tensor, FP32, at the start of the region.
    """

    region: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return 4 * int(np.prod(self.shape))


class Transport(ABC):
    """Connection that is used by a single thread, ``close`` included.

    Every method raises :class:`TransportError`.

    Args:
        address: server address.
        token: access token, sent as ``Authorization: Bearer``; only for an encrypted connection.
    """

    library: ClassVar[ModuleType]
    """``tritonclient.grpc`` or ``tritonclient.http``, whose classes have the same names and methods."""
    protocol: ClassVar[str]

    def __init__(self, address: Address, token: str | None = None) -> None:
        self.address = address
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    @abstractmethod
    def index(self) -> list[Mapping[str, Any]]:
        """Return the models of the repository, each with ``name`` and ``state``."""

    @abstractmethod
    def config(self, model: str) -> Mapping[str, Any]:
        """Return a model's configuration, as the JSON form of ``config.pbtxt``."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect."""

    @abstractmethod
    def _call(self, method: str, timeout_s: float, *arguments: Any, **options: Any) -> Any:
        """Call a method of the library's client with a timeout and the headers."""

    def infer(
        self, model: str, tensors: Mapping[str, np.ndarray | Placed], outputs: Sequence[str], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """Run an inference and return the outputs by name.

        Args:
            model: model name.
            tensors: input tensors, FP32.
            outputs: names of the requested outputs.
            timeout_s: timeout in seconds.
        """
        wanted = [self.library.InferRequestedOutput(name) for name in outputs]
        inputs = as_inputs(tensors, self.library)
        result = self._call("infer", timeout_s, model, inputs, outputs=wanted)
        return {name: result.as_numpy(name) for name in outputs}

    def register(self, region: str, key: str, size: int) -> None:
        """Register a region of system shared memory with the server: name, key, size in bytes."""
        self._call("register_system_shared_memory", ASK_TIMEOUT_S, region, key, size)

    def unregister(self, region: str) -> None:
        """Unregister a region; it must not be in use by a request."""
        self._call("unregister_system_shared_memory", ASK_TIMEOUT_S, region)


def as_inputs(tensors: Mapping[str, np.ndarray | Placed], library: ModuleType) -> list[Any]:
    """Convert tensors by name to FP32 request inputs of ``tritonclient.grpc`` or ``tritonclient.http``."""
    inputs = []
    for name, value in tensors.items():
        tensor = library.InferInput(name, list(value.shape), "FP32")
        if isinstance(value, Placed):
            tensor.set_shared_memory(value.region, value.size)
        else:
            tensor.set_data_from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        inputs.append(tensor)
    return inputs


def certificates() -> str | None:
    """File of the certificate authorities, as found by OpenSSL (environment variable SSL_CERT_FILE)."""
    return ssl.get_default_verify_paths().cafile
