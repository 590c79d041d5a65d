"""Free TCP ports."""

from __future__ import annotations

import contextlib
import errno
import socket

from lung_nodule.errors import InputError

_HIGHEST = 65535


def choose_ports(wanted: dict[str, int], address: str) -> dict[str, int]:
    """Check that every fixed port is free, and replace 0 by a free port, by binding them briefly.

    Args:
        wanted: ports by endpoint, as the options ``--<endpoint>_port`` give them.
        address: IPv4 address or host name to bind.

    Raises:
        InputError: a port is given twice, is out of range or in use, or the address is not of this machine.
    """
    _check_numbers(wanted)
    with contextlib.ExitStack() as stack:
        chosen = {}
        for name, port in wanted.items():
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except socket.gaierror as error:
                raise InputError(f"--address {address!r} is not an IPv4 address or a host name: {error}") from None
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise InputError(f"--address {address} is not an address of this machine") from None
                raise InputError(
                    f"port {port} (--{name}_port) cannot be used on {address} ({error}): "
                    f"stop the program that holds it, or choose another (0: any free one)"
                ) from None
            chosen[name] = probe.getsockname()[1]
        return chosen


def _check_numbers(wanted: dict[str, int]) -> None:
    fixed = [port for port in wanted.values() if port]
    for name, port in wanted.items():
        if not isinstance(port, int) or not 0 <= port <= _HIGHEST:
            raise InputError(f"--{name}_port must be a whole number from 0 to {_HIGHEST}, got {port!r}")
        if fixed.count(port) > 1:
            others = " and ".join(f"--{other}_port" for other, same in wanted.items() if same == port)
            raise InputError(f"{others} are all {port}: give each a port of its own (0: any free one)")
