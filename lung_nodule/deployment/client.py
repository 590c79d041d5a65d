"""The gRPC client of the served ensembles.

On exit it waits for its requests. Disconnecting would cancel them, and a cancelled ensemble request can crash Triton
2.51 (Signal 11 in its gRPC front end; triton-inference-server/server, issues 7368 and 8034). Only the client's own
threads call gRPC: Ctrl-C, which interrupts the main thread, could leave a lock of gRPC taken and every call waiting for
it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import numpy as np
from lung_nodule.deployment.call_threads import CallThreads, Reply
from lung_nodule.errors import InputError
from lung_nodule.io import Voi
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

logger = logging.getLogger(__name__)
_OUTPUTS = ("COARSE_PROBABILITY", "FINE_PROBABILITY", "MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL")
_ASK_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ServedModel:
    """What the server reports about an ensemble: the patch that it samples and the version of its weights."""

    name: str
    version: str
    patch_mm: float
    z_patch_mm: float
    image_size: int
    window: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer for one VOI.

    Attributes:
        coarse: float32 ``[x, y, z]`` coarse probability on the VOI's grid.
        fine: float32 ``[x, y, z]`` fine probability on the VOI's grid.
        malignancy: probability of the nodule, 0..1.
        interval: its smallest and largest value over mirrored copies of the nodule.
    """

    coarse: np.ndarray
    fine: np.ndarray
    malignancy: float
    interval: tuple[float, float]


class NoduleClient:
    """A connection to a server, as a context manager that on exit waits for the requests under way.

    They are cancelled only as a last resort: after ``timeout_s``, by a second Ctrl-C, or when the process dies.

    Args:
        url: ``host:port`` of the gRPC endpoint.
        model: name of the ensemble.
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

    def __init__(self, url: str, *, model: str = "mtnet", timeout_s: float = 600.0, in_flight: int = 4) -> None:
        self._url, self._model = url, model
        self._timeout_s, self._in_flight = timeout_s, in_flight
        self._client: Any = InferenceServerClient(url)  # its replies are annotated as optional
        self._threads = CallThreads(in_flight, name="nodule_client")

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
        replies: SimpleQueue[Reply] = SimpleQueue()
        self._threads.call(replies, 0, self._describe)
        return replies.get().get()

    def ask(self, vois: Sequence[Voi]) -> Iterator[tuple[int, Answer]]:
        """Send every VOI and yield (position, answer) as the answers come in.

        Requests under way go on when the caller stops iterating; ``close`` waits for them.

        Raises:
            InputError: the server refuses a VOI (its reason is passed on) or stops answering.
        """
        replies: SimpleQueue[Reply] = SimpleQueue()
        for index, voi in enumerate(vois):
            if index >= self._in_flight:
                yield self._next(replies)
            self._threads.call(replies, index, self._infer, voi)
        for _ in range(min(self._in_flight, len(vois))):
            yield self._next(replies)

    @staticmethod
    def _next(replies: SimpleQueue[Reply]) -> tuple[int, Answer]:
        reply = replies.get()
        return reply.key, reply.get()

    def _infer(self, voi: Voi) -> Answer:
        outputs = [InferRequestedOutput(name) for name in _OUTPUTS]
        inputs = request_inputs(voi)
        try:
            result = self._client.infer(self._model, inputs, outputs=outputs, client_timeout=self._timeout_s)
        except InferenceServerException as error:
            raise self._explained(error, voi.nodule_id) from None
        coarse, fine, malignancy, interval = (result.as_numpy(name) for name in _OUTPUTS)
        return Answer(coarse, fine, float(malignancy[0]), (float(interval[0]), float(interval[1])))

    def _describe(self) -> ServedModel:
        try:
            if not self._client.is_model_ready(self._model, client_timeout=_ASK_TIMEOUT_S):
                raise InputError(f"the server at {self._url} does not serve {self._model!r}; it has: {self._held()}")
            config = self._client.get_model_config(self._model, client_timeout=_ASK_TIMEOUT_S).config
            if config.platform != "ensemble":
                raise InputError(
                    f"model {self._model!r} at {self._url} answers for prepared images, not for a CT: take an "
                    "ensemble, such as mtnet"
                )
            text = {key: value.string_value for key, value in config.parameters.items()}
            lower, upper = (float(edge) for edge in text["window"].split())
            return ServedModel(
                self._model,
                text["version"],
                float(text["patch_mm"]),
                float(text["z_patch_mm"]),
                int(text["image_size"]),
                (lower, upper),
            )
        except InferenceServerException as error:
            raise self._explained(error) from None
        except KeyError as error:
            raise InputError(
                f"model {self._model!r} at {self._url} says nothing about its {error.args[0]}: serve an exported one"
            ) from None

    def _held(self) -> str:
        index = self._client.get_model_repository_index(client_timeout=_ASK_TIMEOUT_S)
        return ", ".join(sorted(f"{model.name} ({model.state.lower()})" for model in index.models)) or "no model"

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


def request_inputs(voi: Voi) -> list[InferInput]:
    """A VOI as the tensors of an ensemble: VOI in HU, SPACING in mm, CENTER as a voxel index."""
    values = {"VOI": voi.volume.data, "SPACING": voi.volume.spacing, "CENTER": voi.center}
    inputs = []
    for name, value in values.items():
        tensor = InferInput(name, list(value.shape), "FP32")
        tensor.set_data_from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        inputs.append(tensor)
    return inputs
