"""A connection by an address: over gRPC or over HTTP."""

from __future__ import annotations

from lung_nodule.deployment.connection.transport import Address, Transport


def connect(address: Address, token: str | None = None) -> Transport:
    """A connection over the address's protocol, whose library alone is imported; nothing is sent yet.

    Args:
        address: of the server.
        token: sent as ``Authorization: Bearer``; only where the connection is encrypted.
    """
    if address.http:
        from lung_nodule.deployment.connection.http_transport import HttpTransport

        return HttpTransport(address, token)
    from lung_nodule.deployment.connection.grpc_transport import GrpcTransport

    return GrpcTransport(address, token)
