"""Health check: a small inference with every ensemble and every stand-alone net.

Triton still reports ready after a step has died.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_VOI_SHAPE = (24, 24, 3)
_HU_LUNG = -850.0
_DIAMETER_MM = 8.0
_DARK = 0.1
_QUICK_S = 2.0
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # the server is on this machine
]
_PASSING = ("RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
"""Statuses of a server that is busy; see :mod:`.health_watch` for one that hangs."""
_MAY_LACK = "ATTRIBUTES"
"""Output that may be NaN: ratings that depend on a mask are NaN without one."""


class CanaryError(RuntimeError):
    """The server did not answer the canary.

    Args:
        message: reason.
        final: whether the answer was wrong, so that waiting does not help.
        model: name of the model that did not answer; None if the server itself did not.
    """

    def __init__(self, message: str, *, final: bool, model: str | None = None) -> None:
        super().__init__(message)
        self.final, self.model = final, model


def ask_canary(grpc_url: str, *, timeout_s: float = 600.0, headers: Mapping[str, str] | None = None) -> list[str]:
    """Send a small piece of lung to every loaded ensemble, and an image to every other net.

    Steps are tested within their ensemble. Other models are tested if their inputs have fixed sizes.

    Args:
        grpc_url: ``host:port``.
        timeout_s: timeout of one inference in seconds. It must exceed the server's longest queueing time: a timeout
            cancels the request, which can crash Triton 2.51 (see ``lung_nodule.deployment.client``).
        headers: metadata of the inferences, see :attr:`.grpc_guard.GrpcGuard.canary_headers`.

    Returns:
        Names of the models that answered, sorted.

    Raises:
        CanaryError: the server is not ready yet, a model is not loaded, or one gave no answer or no finite one. The
            error is final unless the server is not ready, is busy, or did not answer in time.
    """
    from tritonclient.grpc import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    with InferenceServerClient(grpc_url, channel_args=_CHANNEL) as client:
        try:
            live = client.is_server_live(client_timeout=_QUICK_S)
            if not live or not client.is_server_ready(client_timeout=_QUICK_S):
                raise CanaryError("it is still loading its models", final=False)
            configs = _configs(client)
        except InferenceServerException as error:
            raise CanaryError(str(error.message()), final=False) from None
        asked = {config.name: values for config in _entry_models(configs) if (values := _values(config)) is not None}
        for name in sorted(asked):
            _ask(client, name, asked[name], timeout_s, headers)
        return sorted(asked)


def answered_requests(grpc_url: str, *, timeout_s: float = 5.0) -> dict[str, int]:
    """Number of inferences that each model has answered since its start, by Triton's statistics.

    Args:
        grpc_url: ``host:port``.
        timeout_s: timeout in seconds.

    Returns:
        Numbers by model; empty if the server does not answer.
    """
    from tritonclient.grpc import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    with InferenceServerClient(grpc_url, channel_args=_CHANNEL) as client:
        try:
            statistics: Any = client.get_inference_statistics(client_timeout=timeout_s)
        except InferenceServerException:
            return {}
    return {model.name: model.inference_stats.success.count for model in statistics.model_stats}


def _configs(client: Any) -> list[Any]:
    """Configs of all models; a model that is not ready is an error."""
    models = client.get_model_repository_index(client_timeout=_QUICK_S).models
    failed = [f"{model.name}: {model.reason}" for model in models if model.state != "READY"]
    if failed:
        raise CanaryError("; ".join(failed), final=True)
    return [client.get_model_config(model.name, client_timeout=_QUICK_S).config for model in models]


def _entry_models(configs: Sequence[Any]) -> list[Any]:
    """Models that are not a step of an ensemble."""
    steps = {step.model_name for config in configs for step in config.ensemble_scheduling.step}
    return [config for config in configs if config.name not in steps]


def _values(config: Any) -> dict[str, np.ndarray] | None:
    """Test inputs of a model: a VOI if it takes one, a dark image for a net; None for inputs of variable size."""
    names = {tensor.name for tensor in config.input}
    of_voi = {
        "VOI": np.full(_VOI_SHAPE, _HU_LUNG, dtype=np.float32),
        "SPACING": np.ones(3, dtype=np.float32),
        "CENTER": np.asarray(_VOI_SHAPE, dtype=np.float32) / 2,
        "DIAMETER": np.array([_DIAMETER_MM], dtype=np.float32),
    }
    if names <= set(of_voi):
        return {name: value for name, value in of_voi.items() if name in names}
    if any(size < 1 for tensor in config.input for size in tensor.dims):
        return None
    batch = [1] if config.max_batch_size > 0 else []
    return {tensor.name: np.full([*batch, *tensor.dims], _DARK, dtype=np.float32) for tensor in config.input}


def _ask(
    client: Any, name: str, values: dict[str, np.ndarray], timeout_s: float, headers: Mapping[str, str] | None
) -> None:
    from tritonclient.grpc import InferInput
    from tritonclient.utils import InferenceServerException, np_to_triton_dtype

    inputs = []
    for tensor, value in values.items():
        item = InferInput(tensor, list(value.shape), np_to_triton_dtype(value.dtype))
        item.set_data_from_numpy(value)
        inputs.append(item)
    try:
        answer = client.infer(name, inputs, client_timeout=timeout_s, headers=headers)
    except InferenceServerException as error:
        waits = any(status in str(error.status()) for status in _PASSING)
        raise CanaryError(f"{name}: {error.message()}", final=not waits, model=name) from None
    for output in answer.get_response().outputs:
        if output.name != _MAY_LACK and not np.all(np.isfinite(answer.as_numpy(output.name))):
            raise CanaryError(f"{name}: output {output.name} is not finite", final=True, model=name)
