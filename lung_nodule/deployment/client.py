"""Client of the served models that take a VOI, over gRPC or HTTP.

On exit it waits for its requests. Disconnecting would cancel them, and a cancelled ensemble request can crash Triton
2.51 (Signal 11 in its gRPC front end; triton-inference-server/server, issues 7368 and 8034). Only the client's own
threads call the server, each over its own connection: Ctrl-C, which interrupts the main thread, could leave a lock of
gRPC taken and every call waiting for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from queue import SimpleQueue
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np
from lung_nodule.deployment.answers import PANEL, Answer, ServedModel, answer_of
from lung_nodule.deployment.connection.call_threads import CallThreads, Reply
from lung_nodule.deployment.connection.connect import connect
from lung_nodule.deployment.connection.request_slot import RequestSlot
from lung_nodule.deployment.connection.retries import Retries
from lung_nodule.deployment.connection.transport import Address, Failure, Transport, TransportError, as_inputs
from lung_nodule.errors import InputError
from lung_nodule.io import Voi
from tritonclient import grpc

logger = logging.getLogger(__name__)
RETRIES = 8
"""Waits of a minute in all: ``serve`` needs less to find a dead step and start the server again."""


class NoduleClient:
    """Connection to a server, a context manager that waits for running requests on exit.

    Requests are cancelled only as a last resort: after ``timeout_s``, by a second Ctrl-C, or when the process dies.

    Args:
        url: ``host:port`` or ``grpc://host:port`` of the gRPC endpoint, ``http://host:port`` of the HTTP endpoint;
            ``grpcs://`` and ``https://`` behind a proxy with TLS.
        model: name of a model that takes a VOI: a bundle's, or ``nodule_panel`` for all of them. None selects the panel
            or, without one, the only ensemble of the server.
        timeout_s: timeout of one request in seconds; afterwards the request is cancelled.
        in_flight: number of concurrent requests; the server merges their slices into batches.
        retries: retries per request once the server has answered at least once.
        shared_memory: whether VOIs go through shared memory; None: if the address is of this machine. A server that
            cannot open it, as in a container, receives them in the requests.
        token: access token of a reverse proxy, for an encrypted connection.

    Raises:
        InputError: the address is invalid, or a token would be sent unencrypted.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.deployment.client import NoduleClient, request_inputs
        >>> from lung_nodule.io import Volume, cut_voi
        >>> ct = Volume(np.full((90, 90, 60), -850, np.int16), np.diag([-1.0, -1.0, 2.0, 1.0])).canonical()
        >>> voi = cut_voi(ct, "nodule_1", (-45.0, -45.0, 60.0), edge_mm=80.0)
        >>> [(tensor.name(), tensor.shape()) for tensor in request_inputs(voi)]
        [('VOI', [81, 81, 41]), ('SPACING', [3]), ('CENTER', [3])]
        >>> with NoduleClient("localhost:8001") as client:  # doctest: +SKIP
        ...     answers = dict(client.ask([voi]))
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        timeout_s: float = 600.0,
        in_flight: int = 4,
        retries: int = RETRIES,
        shared_memory: bool | None = None,
        token: str | None = None,
    ) -> None:
        self._url, self._model, self._token = url, model, token
        self._timeout_s, self._in_flight = timeout_s, in_flight
        self._address = Address.parse(url)
        if token is not None and not self._address.tls:
            raise InputError(f"a token would go unencrypted to {url}: give a URL of https:// or grpcs://")
        self._shared_memory = self._address.local if shared_memory is None else shared_memory
        self._retries = Retries(retries, server=url)
        self._own = threading.local()
        self._threads = CallThreads(in_flight, name="nodule_client", at_end=self._close_slot)
        self._served: ServedModel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is KeyboardInterrupt:
            logger.info(
                "waiting at most %.0f s for running requests; press Ctrl-C again to stop immediately", self._timeout_s
            )
        self.close()

    def close(self) -> None:
        """Wait for running requests, at most ``timeout_s`` each, then disconnect; no further requests are sent."""
        self._retries.stop()
        self._threads.finish()

    def describe(self, *, again: bool = False) -> ServedModel:
        """Describe the model as loaded by the server.

        Args:
            again: ask the server even if it was asked before; it may have restarted with another export.

        Raises:
            InputError: no server answers, the model is not loaded, or it does not take a CT.
        """
        served = self._served
        if served is None or again:
            replies: SimpleQueue[Reply] = SimpleQueue()
            self._threads.call(replies, 0, self._describe)
            served = self._served = replies.get().get()
        return served

    def ask(
        self,
        vois: Sequence[Voi],
        diameters: Sequence[float | None] | None = None,
        *,
        outputs: Sequence[str] | None = None,
    ) -> Iterator[tuple[int, Answer]]:
        """Send every VOI and yield (position, answer) as the answers come in.

        Running requests continue when the caller stops iterating; ``close`` waits for them.

        Args:
            vois: VOIs to send.
            diameters: declared diameter of each nodule in mm, for a model that takes one; None if unknown.
            outputs: names of the requested outputs; None for all that :class:`Answer` holds.

        Raises:
            InputError: the server refuses a VOI (the message has its reason) or stops answering, or the model lacks one
                of the outputs.
        """
        served, replies = self.describe(), SimpleQueue[Reply]()
        served = served if outputs is None else served.asking(outputs)
        for index, voi in enumerate(vois):
            if index >= self._in_flight:
                yield self._next(replies)
            diameter = None if diameters is None else diameters[index]
            self._threads.call(replies, index, self._infer, served, voi, diameter)
        for _ in range(min(self._in_flight, len(vois))):
            yield self._next(replies)

    @staticmethod
    def _next(replies: SimpleQueue[Reply]) -> tuple[int, Answer]:
        reply = replies.get()
        return reply.key, reply.get()

    def _infer(self, served: ServedModel, voi: Voi, diameter: float | None) -> Answer:
        tensors = voi_tensors(voi, diameter if "DIAMETER" in served.inputs else None)
        try:
            answer = self._retries.call(self._slot().infer, served.name, tensors, served.asked, self._timeout_s)
        except TransportError as error:
            raise self._explain(error, voi.nodule_id) from None
        return answer_of(answer, served)

    def _slot(self) -> RequestSlot:
        """Connection of the calling thread."""
        if not hasattr(self._own, "slot"):
            self._own.slot = RequestSlot(connect(self._address, self._token), shared_memory=self._shared_memory)
        return self._own.slot

    def _close_slot(self) -> None:
        if hasattr(self._own, "slot"):
            self._own.slot.close()

    def _describe(self) -> ServedModel:
        transport, name = self._slot().transport, self._model or PANEL
        try:
            index = self._retries.call(transport.index)
            name = self._model or self._default(transport, index)
            if not any(model["name"] == name and model.get("state") == "READY" for model in index):
                raise InputError(f"the server at {self._url} does not serve {name!r}; it has: {_held(index)}")
            return self._served_model(self._retries.call(transport.config, name))
        except TransportError as error:
            raise self._explain(error) from None
        except KeyError as error:
            raise InputError(
                f"model {name!r} at {self._url} has no parameter {error.args[0]}: serve an exported model"
            ) from None

    def _served_model(self, config: Mapping[str, Any]) -> ServedModel:
        inputs, outputs = (tuple(tensor["name"] for tensor in config.get(part, [])) for part in ("input", "output"))
        if "VOI" not in inputs:
            raise InputError(
                f"model {config['name']!r} at {self._url} takes {', '.join(inputs)}, not a CT: name a bundle's, such "
                f"as mtnet, or {PANEL}"
            )
        text = {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}
        return ServedModel(
            name=config["name"],
            version=text["version"],
            reach_mm=float(text["reach_mm"]),
            reach_diameters=float(text.get("reach_diameters", 0)),
            inputs=inputs,
            outputs=outputs,
            parameters=text,
        )

    def _default(self, transport: Transport, index: Sequence[Mapping[str, Any]]) -> str:
        """Name of the panel, or else of the server's only ensemble."""
        names = [model["name"] for model in index]
        if PANEL in names:
            return PANEL
        configs = {name: self._retries.call(transport.config, name) for name in names}
        ensembles = [name for name, config in configs.items() if config.get("platform") == "ensemble"]
        if len(ensembles) != 1:
            raise InputError(f"the server at {self._url} has no {PANEL}: name a model; it has: {_held(index)}")
        return ensembles[0]

    def _explain(self, error: TransportError, nodule_id: str | None = None) -> InputError:
        where = f"nodule {nodule_id}: " if nodule_id is not None else ""
        if error.failure is Failure.UNREACHABLE and nodule_id is not None:
            return InputError(f"{where}the server at {self._url} is gone: look at its log and start it again")
        if error.failure is Failure.UNREACHABLE:
            protocol = "HTTP" if self._address.http else "gRPC"
            return InputError(
                f"no Triton server answers {protocol} at {self._url}: start one with python -m lung_nodule serve, "
                "or give another --url (host:port for gRPC, http://host:port for HTTP)"
            )
        if error.failure is Failure.TIMEOUT:
            return InputError(f"{where}the server at {self._url} did not answer in time: look at its log")
        if error.failure is Failure.BUSY:
            return InputError(f"{where}the server at {self._url} is busy ({error}): try again later")
        return InputError(f"{where}the server at {self._url} refused: {error}")


def _held(index: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(sorted(f"{model['name']} ({model.get('state', '').lower()})" for model in index)) or "no model"


def voi_tensors(voi: Voi, diameter: float | None = None) -> dict[str, np.ndarray]:
    """Tensors of a VOI: VOI in HU, SPACING and, if known, DIAMETER in mm, CENTER as a voxel index."""
    tensors = {"VOI": voi.volume.data, "SPACING": voi.volume.spacing, "CENTER": voi.center}
    return tensors if diameter is None else tensors | {"DIAMETER": np.array([diameter])}


def request_inputs(voi: Voi, diameter: float | None = None, *, library: ModuleType = grpc) -> list[Any]:
    """Convert a VOI to FP32 inputs of tritonclient; ``library`` is its ``grpc`` or ``http`` module."""
    return as_inputs(voi_tensors(voi, diameter), library)
