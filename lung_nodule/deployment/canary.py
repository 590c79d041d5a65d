"""The health check: a small inference through every ensemble, since Triton's own readiness survives a dead step."""

import numpy as np

_VOI_SHAPE = (24, 24, 3)
_HU_LUNG = -850.0


class CanaryError(RuntimeError):
    """The server did not answer the canary; ``final`` tells that waiting longer will not help."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


def ask_canary(grpc_url: str, *, timeout_s: float = 60.0) -> list[str]:
    """Send a small piece of lung through every ensemble that the server holds.

    Args:
        grpc_url: ``host:port``.
        timeout_s: how long one inference may take, in seconds.

    Returns:
        Names of the ensembles that answered.

    Raises:
        CanaryError: the server is not ready yet, a model is not loaded, or an ensemble gave no finite answer.
    """
    from tritonclient.grpc import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    with InferenceServerClient(grpc_url) as client:
        try:
            if not client.is_server_live(client_timeout=2.0) or not client.is_server_ready(client_timeout=2.0):
                raise CanaryError("it is still loading its models", final=False)
            index = client.get_model_repository_index(client_timeout=2.0)
        except InferenceServerException as error:
            raise CanaryError(str(error.message()), final=False) from None
        failed = [f"{model.name}: {model.reason}" for model in index.models if model.state != "READY"]
        if failed:
            raise CanaryError("; ".join(failed), final=True)
        names = [model.name for model in index.models if _is_ensemble(client, model.name)]
        for name in names:
            _ask(client, name, timeout_s)
        return names


def _is_ensemble(client, name: str) -> bool:
    return client.get_model_config(name).config.platform == "ensemble"


def _ask(client, name: str, timeout_s: float) -> None:
    from tritonclient.grpc import InferInput
    from tritonclient.utils import InferenceServerException, np_to_triton_dtype

    values = {
        "VOI": np.full(_VOI_SHAPE, _HU_LUNG, dtype=np.float32),
        "SPACING": np.ones(3, dtype=np.float32),
        "CENTER": np.asarray(_VOI_SHAPE, dtype=np.float32) / 2,
    }
    inputs = []
    for tensor, value in values.items():
        item = InferInput(tensor, list(value.shape), np_to_triton_dtype(value.dtype))
        item.set_data_from_numpy(value)
        inputs.append(item)
    try:
        answer = client.infer(name, inputs, client_timeout=timeout_s)
    except InferenceServerException as error:
        raise CanaryError(f"{name}: {error.message()}", final=True) from None
    for output in answer.get_response().outputs:
        if not np.all(np.isfinite(answer.as_numpy(output.name))):
            raise CanaryError(f"{name}: output {output.name} is not finite", final=True)
