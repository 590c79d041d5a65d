"""Free TCP ports."""

from __future__ import annotations

import contextlib
import socket

from lung_nodule.errors import InputError


def choose_ports(wanted: dict[str, int], address: str) -> dict[str, int]:
    """Check that every fixed port is free, and replace 0 by a free port, by binding them briefly."""
    with contextlib.ExitStack() as stack:
        chosen = {}
        for name, port in wanted.items():
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except (OSError, OverflowError, TypeError) as error:
                raise InputError(
                    f"port {port} (--{name}_port) cannot be used on {address} ({error}): "
                    f"stop the program that holds it, or choose another (0: any free one)"
                ) from None
            chosen[name] = probe.getsockname()[1]
        return chosen
