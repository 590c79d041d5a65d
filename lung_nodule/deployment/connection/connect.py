"""Create a connection over gRPC or HTTP."""

from __future__ import annotations

from lung_nodule.deployment.connection.transport import Address, Transport


def connect(address: Address, token: str | None = None) -> Transport:
    """Create a connection with the protocol of the address, importing only its library; nothing is sent yet.

    Args:
        address: server address.
        token: access token, sent as ``Authorization: Bearer``; only for an encrypted connection.
    """
    if address.http:
        from lung_nodule.deployment.connection.http_transport import HttpTransport

        return HttpTransport(address, token)
    from lung_nodule.deployment.connection.grpc_transport import GrpcTransport

    return GrpcTransport(address, token)
