"""System shared memory for a request's largest tensor, if client and server run on one machine."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import Any

import numpy as np
from lung_nodule.deployment.connection.transport import Failure, Placed, Transport, TransportError
from tritonclient.utils import shared_memory

PREFIX = "nodule_client_"
"""Prefix of the region names, before the process id."""


class VoiMemory:
    """Region for one request at a time, registered on first use and replaced when it is too small.

    If the process dies, Python's resource tracker removes the region; the server closes it when it ends.

    Args:
        transport: connection with which the region is registered.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._region: Any = None
        self._name, self._size = "", 0

    def place(self, array: np.ndarray) -> Placed:
        """Copy an array, as FP32, into the region.

        Raises:
            TransportError: the server cannot open the region, or there is not enough memory; the region is removed.
        """
        values = np.ascontiguousarray(array, dtype=np.float32)
        if values.nbytes > self._size:
            self.close()
            self._open(values.nbytes)
        shared_memory.set_shared_memory_region(self._region, [values])
        return Placed(self._name, values.shape)

    def close(self) -> None:
        """Unregister and remove the region; it must not be in use by a request."""
        if self._region is not None:
            with contextlib.suppress(TransportError):  # the server is gone or was restarted
                self._transport.unregister(self._name)
            self.drop()

    def drop(self) -> None:
        """Remove the region locally only: the server may still be reading it, or is gone."""
        if self._region is not None:
            region, self._region, self._size = self._region, None, 0
            shared_memory.destroy_shared_memory_region(region)

    def _open(self, size: int) -> None:
        self._name = f"{PREFIX}{os.getpid()}_{uuid.uuid4().hex}"
        try:
            self._region = shared_memory.create_shared_memory_region(self._name, self._name, size, create_only=True)
            with open(f"/dev/shm/{self._name}", "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)  # writing without space would kill the process
            self._transport.register(self._name, f"/{self._name}", size)
        except (OSError, shared_memory.SharedMemoryException) as error:
            self.drop()
            raise TransportError(Failure.REFUSED, f"no region of {size} bytes can be made ({error})") from None
        except BaseException:
            self.drop()
            raise
        self._size = size
