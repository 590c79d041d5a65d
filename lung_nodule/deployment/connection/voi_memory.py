"""System shared memory in which a request's largest tensor lies, where client and server share a machine."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import Any

import numpy as np
from lung_nodule.deployment.connection.transport import Failure, Placed, Transport, TransportError
from tritonclient.utils import shared_memory

PREFIX = "nodule_client_"
"""Begins the names of the regions, before the process id."""


class VoiMemory:
    """One region for one request at a time, registered on first use and replaced when it is too small.

    Should the process die, Python's resource tracker removes the region; the server closes it when it ends.

    Args:
        transport: through which it is registered.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._region: Any = None
        self._name, self._size = "", 0

    def place(self, array: np.ndarray) -> Placed:
        """Copy an array, as FP32, to where the server reads it.

        Raises:
            TransportError: the server does not open the region, or this machine has no room for it; none is left.
        """
        values = np.ascontiguousarray(array, dtype=np.float32)
        if values.nbytes > self._size:
            self.close()
            self._open(values.nbytes)
        shared_memory.set_shared_memory_region(self._region, [values])
        return Placed(self._name, values.shape)

    def close(self) -> None:
        """Unregister the region and remove it; no request may be under way."""
        if self._region is not None:
            with contextlib.suppress(TransportError):  # a server that has gone, or was restarted, holds none
                self._transport.unregister(self._name)
            self.drop()

    def drop(self) -> None:
        """Remove the region here only: the server may still be reading it, or is gone."""
        if self._region is not None:
            region, self._region, self._size = self._region, None, 0
            shared_memory.destroy_shared_memory_region(region)

    def _open(self, size: int) -> None:
        self._name = f"{PREFIX}{os.getpid()}_{uuid.uuid4().hex}"
        try:
            self._region = shared_memory.create_shared_memory_region(self._name, self._name, size, create_only=True)
            with open(f"/dev/shm/{self._name}", "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)  # writing where there is no room would end the process
            self._transport.register(self._name, f"/{self._name}", size)
        except (OSError, shared_memory.SharedMemoryException) as error:
            self.drop()
            raise TransportError(Failure.REFUSED, f"no region of {size} bytes can be made ({error})") from None
        except BaseException:
            self.drop()
            raise
        self._size = size
