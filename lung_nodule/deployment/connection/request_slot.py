"""Connection and shared memory of one client thread."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from lung_nodule.deployment.connection.transport import Failure, Placed, Transport, TransportError
from lung_nodule.deployment.connection.voi_memory import VoiMemory

logger = logging.getLogger(__name__)
_IN_MEMORY = "VOI"


class RequestSlot:
    """Connection that sends VOIs through shared memory as long as the server can open it.

    Args:
        transport: connection of the calling thread.
        shared_memory: whether to use shared memory.
    """

    def __init__(self, transport: Transport, *, shared_memory: bool) -> None:
        self.transport = transport
        self._memory = VoiMemory(transport) if shared_memory else None

    def infer(
        self, model: str, tensors: Mapping[str, np.ndarray], outputs: Sequence[str], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """See :meth:`Transport.infer`."""
        try:
            return self.transport.infer(model, self._place(tensors), outputs, timeout_s)
        except TransportError as error:
            if self._memory is None:
                raise
            if error.failure in (Failure.UNREACHABLE, Failure.TIMEOUT):
                self._memory.drop()  # the server may still be reading it; a busy server has not started
            if error.failure is not Failure.REFUSED or "shared memory" not in str(error):
                raise
        self._memory.drop()  # the server was restarted and does not know the region
        return self.transport.infer(model, self._place(tensors), outputs, timeout_s)

    def close(self) -> None:
        """Free the memory and disconnect."""
        try:
            if self._memory is not None:
                self._memory.close()
        finally:
            self.transport.close()

    def _place(self, tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray | Placed]:
        if self._memory is None:
            return tensors
        try:
            return {**tensors, _IN_MEMORY: self._memory.place(tensors[_IN_MEMORY])}
        except TransportError as error:
            if error.failure is not Failure.REFUSED:
                raise
            logger.info("no shared memory with the server (%s): VOIs go in the requests", error)
            self._memory = None
            return tensors
