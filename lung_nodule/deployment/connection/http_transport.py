"""Connection over HTTP.

tritonclient's HTTP client runs on gevent, whose event loop belongs to one thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import gevent
from gevent.ssl import create_default_context
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from lung_nodule.deployment.connection.transport import (
    ASK_TIMEOUT_S,
    DEAD_MODEL,
    Address,
    Failure,
    Transport,
    TransportError,
    certificates,
)
from tritonclient import http
from tritonclient.utils import InferenceServerException

_CONNECT_S = 10.0
_READ_S = 86400.0  # per read; gevent.Timeout limits the whole answer
_BUSY = {"429", "502", "503", "504"}
"""Too many requests, and a proxy's gateway errors."""


class _TooLateError(Exception):
    """The answer timed out."""


class HttpTransport(Transport):
    """See :class:`Transport`."""

    library = http
    protocol = "HTTP"

    def __init__(self, address: Address, token: str | None = None) -> None:
        super().__init__(address, token)
        self._client: http.InferenceServerClient | None = None

    def index(self) -> list[Mapping[str, Any]]:
        """See :meth:`Transport.index`."""
        return self._call("get_model_repository_index", ASK_TIMEOUT_S)

    def config(self, model: str) -> Mapping[str, Any]:
        """See :meth:`Transport.config`."""
        return self._call("get_model_config", ASK_TIMEOUT_S, model)

    def close(self) -> None:
        """See :meth:`Transport.close`."""
        self._disconnect()
        hub = gevent.get_hub()
        if not hub.loop.default:  # leave the hub of a gevent application open
            hub.destroy(destroy_loop=True)

    def _call(self, method: str, timeout_s: float, *arguments: Any, **options: Any) -> Any:
        if self._client is None:
            self._client = self._connect()
        try:
            with gevent.Timeout(timeout_s, _TooLateError):
                return getattr(self._client, method)(*arguments, **options, headers=self._headers)
        except InferenceServerException as error:
            raise _of_status(error) from None
        except (_TooLateError, OSError, HTTPParseError, ValueError) as error:
            self._disconnect()  # the answer may still arrive on that connection
            raise _of_network(error) from None

    def _connect(self) -> http.InferenceServerClient:
        authorities = certificates()
        return http.InferenceServerClient(
            self.address.target,
            connection_timeout=_CONNECT_S,
            network_timeout=_READ_S,
            ssl=self.address.tls,
            ssl_options={"ca_certs": authorities} if authorities else {},
            ssl_context_factory=create_default_context,
        )

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _of_status(error: InferenceServerException) -> TransportError:
    """Error for an unsuccessful HTTP status; Triton gives the reason as JSON, a proxy as a page."""
    status, text = str(error.status()), str(error.message())
    reason = f"HTTP status {status}" if "exception occurred in the client while decoding" in text else text
    passes = status in _BUSY or DEAD_MODEL in text
    return TransportError(Failure.BUSY if passes else Failure.REFUSED, reason)


def _of_network(error: Exception) -> TransportError:
    if isinstance(error, _TooLateError):
        return TransportError(Failure.TIMEOUT, "no answer in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        return TransportError(
            Failure.REFUSED,
            f"its certificate is not trusted ({error.verify_message}): name its authority's file in SSL_CERT_FILE",
        )
    if isinstance(error, ssl.SSLError):
        return TransportError(Failure.REFUSED, f"no TLS connection ({error.reason})")
    if isinstance(error, HTTPParseError) and not isinstance(error, HTTPConnectionClosed):
        return TransportError(Failure.REFUSED, f"this is not an HTTP endpoint ({error})")
    if isinstance(error, ValueError):  # of the JSON decoder
        return TransportError(Failure.REFUSED, "what answers there is not Triton")
    return TransportError(Failure.UNREACHABLE, str(error) or type(error).__name__)
