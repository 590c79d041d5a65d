"""What every connection to a Triton server has in common, over gRPC and over HTTP."""

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
"""How long an answer may take that is no inference."""
_SCHEMES = {"grpc": (False, False), "grpcs": (False, True), "http": (True, False), "https": (True, True)}


class Failure(Enum):
    """Why a call had no answer."""

    UNREACHABLE = "no connection, or one that broke"
    BUSY = "a server that cannot answer now"
    TIMEOUT = "no answer in time"
    REFUSED = "a request that will never be answered"


class TransportError(Exception):
    """A call without an answer; the text is the server's or the network's."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        target: ``host:port``, over HTTP also with a path, or ``unix:`` and a path.
        http: whether it is an HTTP endpoint, else a gRPC one.
        tls: whether the connection is encrypted.
    """

    target: str
    http: bool = False
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``host:port`` or ``unix:path`` (gRPC), or a URL that begins with grpc, grpcs, http or https.

        Raises:
            InputError: it begins with something else, or nothing follows.
        """
        scheme, found, rest = url.partition("://")
        if not found or scheme == "unix":
            scheme, rest = "grpc", url
        if scheme not in _SCHEMES or not rest.strip("/"):
            raise InputError(f"server address {url!r}: give host:port, or {', '.join(_SCHEMES)} :// host:port")
        http, tls = _SCHEMES[scheme]
        return cls(rest if rest.startswith("unix:") else rest.rstrip("/"), http, tls)

    @property
    def local(self) -> bool:
        """Whether it is this machine by name; a port forwarded elsewhere looks the same."""
        if self.target.startswith("unix:"):
            return True
        host = self.target.partition("/")[0].rpartition(":")[0].strip("[]") or self.target
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


@dataclass(frozen=True)
class Placed:
    """A tensor that lies in system shared memory.

    Attributes:
        region: name under which the server knows the memory.
        shape: of the tensor, FP32, from the beginning of the memory.
    """

    region: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return 4 * int(np.prod(self.shape))


class Transport(ABC):
    """One connection, of one thread, which alone calls its methods, ``close`` included.

    Every method raises :class:`TransportError`.

    Args:
        address: of the server.
        token: sent as ``Authorization: Bearer``; only where the connection is encrypted.
    """

    library: ClassVar[ModuleType]
    """``tritonclient.grpc`` or ``tritonclient.http``, whose classes have the same names and methods."""
    protocol: ClassVar[str]

    def __init__(self, address: Address, token: str | None = None) -> None:
        self.address = address
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    @abstractmethod
    def index(self) -> list[Mapping[str, Any]]:
        """The models of the repository, each with ``name`` and ``state``."""

    @abstractmethod
    def config(self, model: str) -> Mapping[str, Any]:
        """A model's configuration, as the JSON form of ``config.pbtxt``."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect."""

    @abstractmethod
    def _call(self, method: str, timeout_s: float, *arguments: Any, **options: Any) -> Any:
        """Call a method of the library's client, at most so long, with the headers."""

    def infer(
        self, model: str, tensors: Mapping[str, np.ndarray | Placed], outputs: Sequence[str], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """A model's answer.

        Args:
            model: its name.
            tensors: the inputs, FP32.
            outputs: names of those that are wanted.
            timeout_s: how long it may take, in seconds.
        """
        wanted = [self.library.InferRequestedOutput(name) for name in outputs]
        inputs = as_inputs(tensors, self.library)
        result = self._call("infer", timeout_s, model, inputs, outputs=wanted)
        return {name: result.as_numpy(name) for name in outputs}

    def register(self, region: str, key: str, size: int) -> None:
        """Let the server open a region of system shared memory: its name there, its key, its bytes."""
        self._call("register_system_shared_memory", ASK_TIMEOUT_S, region, key, size)

    def unregister(self, region: str) -> None:
        """Let the server close a region; no request may be using it."""
        self._call("unregister_system_shared_memory", ASK_TIMEOUT_S, region)


def as_inputs(tensors: Mapping[str, np.ndarray | Placed], library: ModuleType) -> list[Any]:
    """Tensors by name as the inputs of a request, FP32, for one of tritonclient's two libraries."""
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
    """File of the authorities that a server's certificate is checked with, as OpenSSL finds it: SSL_CERT_FILE."""
    return ssl.get_default_verify_paths().cafile
