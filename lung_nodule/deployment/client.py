"""The gRPC client of the served models that take a VOI.

On exit it waits for its requests. Disconnecting would cancel them, and a cancelled ensemble request can crash Triton
2.51 (Signal 11 in its gRPC front end; triton-inference-server/server, issues 7368 and 8034). Only the client's own
threads call gRPC: Ctrl-C, which interrupts the main thread, could leave a lock of gRPC taken and every call waiting for
it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import numpy as np
from lung_nodule.deployment.answers import PANEL, Answer, ServedModel, answer_of
from lung_nodule.deployment.call_threads import CallThreads, Reply
from lung_nodule.errors import InputError
from lung_nodule.io import Voi
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

logger = logging.getLogger(__name__)

_ASK_TIMEOUT_S = 10.0


class NoduleClient:
    """A connection to a server, as a context manager that on exit waits for the requests under way.

    They are cancelled only as a last resort: after ``timeout_s``, by a second Ctrl-C, or when the process dies.

    Args:
        url: ``host:port`` of the gRPC endpoint.
        model: name of a model that takes a VOI: a bundle's, or ``nodule_panel`` for all of them. None takes the panel
            or, where there is none, the one ensemble of the server.
        timeout_s: how long one answer may take, in seconds; then its request is cancelled.
        in_flight: requests that are under way at once; the server merges their slices into batches.

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

    def __init__(self, url: str, *, model: str | None = None, timeout_s: float = 600.0, in_flight: int = 4) -> None:
        self._url, self._model = url, model
        self._timeout_s, self._in_flight = timeout_s, in_flight
        self._client: Any = InferenceServerClient(url)  # its replies are annotated as optional
        self._threads = CallThreads(in_flight, name="nodule_client")
        self._served: ServedModel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is KeyboardInterrupt:
            logger.info(
                "waiting at most %.0f s for the requests under way; press Ctrl-C again to stop at once", self._timeout_s
            )
        self.close()

    def close(self) -> None:
        """Wait for the requests under way, at most ``timeout_s`` each, then disconnect; unsent calls are dropped."""
        try:
            self._threads.finish()
        finally:
            self._client.close()

    def describe(self) -> ServedModel:
        """What the server has loaded under the model's name.

        Raises:
            InputError: no server answers, it does not hold the model, or the model takes no CT.
        """
        served = self._served
        if served is None:
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

        Requests under way go on when the caller stops iterating; ``close`` waits for them.

        Args:
            vois: to be sent.
            diameters: declared diameter in mm of each, for a model that takes one; None where it is not known.
            outputs: names of the model's outputs to ask for; None asks for all that :class:`Answer` holds.

        Raises:
            InputError: the server refuses a VOI (its reason is passed on) or stops answering.
        """
        served, replies = self.describe(), SimpleQueue[Reply]()
        served = served if outputs is None else replace(served, outputs=tuple(outputs))
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
        outputs = [InferRequestedOutput(name) for name in served.asked]
        inputs = request_inputs(voi, diameter if "DIAMETER" in served.inputs else None)
        try:
            result = self._client.infer(served.name, inputs, outputs=outputs, client_timeout=self._timeout_s)
        except InferenceServerException as error:
            raise self._explained(error, voi.nodule_id) from None
        return answer_of({name: result.as_numpy(name) for name in served.asked}, served)

    def _describe(self) -> ServedModel:
        name = self._model or PANEL
        try:
            name = self._model or self._default()
            if not self._client.is_model_ready(name, client_timeout=_ASK_TIMEOUT_S):
                raise InputError(f"the server at {self._url} does not serve {name!r}; it has: {self._held()}")
            return self._served_model(self._config(name))
        except InferenceServerException as error:
            raise self._explained(error) from None
        except KeyError as error:
            raise InputError(
                f"model {name!r} at {self._url} says nothing about its {error.args[0]}: serve an exported one"
            ) from None

    def _served_model(self, config: Any) -> ServedModel:
        inputs, outputs = (tuple(tensor.name for tensor in part) for part in (config.input, config.output))
        if "VOI" not in inputs:
            raise InputError(
                f"model {config.name!r} at {self._url} takes {', '.join(inputs)}, not a CT: name a bundle's, such as "
                f"mtnet, or {PANEL}"
            )
        text = {key: value.string_value for key, value in config.parameters.items()}
        reach = float(text["reach_mm"]), float(text.get("reach_diameters", 0))
        return ServedModel(config.name, text["version"], *reach, inputs, outputs, text)

    def _default(self) -> str:
        """The panel, else the server's one ensemble."""
        names = [model.name for model in self._index()]
        if PANEL in names:
            return PANEL
        ensembles = [name for name in names if self._config(name).platform == "ensemble"]
        if len(ensembles) != 1:
            raise InputError(f"the server at {self._url} has no {PANEL}: name a model; it has: {self._held()}")
        return ensembles[0]

    def _config(self, name: str) -> Any:
        return self._client.get_model_config(name, client_timeout=_ASK_TIMEOUT_S).config

    def _index(self) -> Any:
        return self._client.get_model_repository_index(client_timeout=_ASK_TIMEOUT_S).models

    def _held(self) -> str:
        return ", ".join(sorted(f"{model.name} ({model.state.lower()})" for model in self._index())) or "no model"

    def _explained(self, error: InferenceServerException, nodule_id: str | None = None) -> InputError:
        where = f"nodule {nodule_id}: " if nodule_id is not None else ""
        if "UNAVAILABLE" in str(error.status()) and nodule_id is not None:
            return InputError(f"{where}the server at {self._url} is gone: look at its log and start it again")
        if "UNAVAILABLE" in str(error.status()):
            return InputError(
                f"no Triton server answers gRPC at {self._url}: start one with python -m lung_nodule serve, "
                "or give another --url"
            )
        if "DEADLINE_EXCEEDED" in str(error.status()):
            return InputError(f"{where}the server at {self._url} did not answer in time: look at its log")
        return InputError(f"{where}the server at {self._url} refused: {error.message()}")


def request_inputs(voi: Voi, diameter: float | None = None) -> list[InferInput]:
    """A VOI as a model's tensors: VOI in HU, SPACING and, where known, DIAMETER in mm, CENTER as a voxel index."""
    values = {"VOI": voi.volume.data, "SPACING": voi.volume.spacing, "CENTER": voi.center}
    if diameter is not None:
        values["DIAMETER"] = np.array([diameter])
    inputs = []
    for name, value in values.items():
        tensor = InferInput(name, list(value.shape), "FP32")
        tensor.set_data_from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        inputs.append(tensor)
    return inputs
