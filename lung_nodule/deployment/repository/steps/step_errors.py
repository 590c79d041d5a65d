"""Errors of a step, and of the models that it asks inside the server.

The export writes this file next to each step's ``model.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub

NOT_LOADED = "is not ready"
"""Part of Triton's message about a model that is not loaded."""
FAULTS: Mapping[str, str] = {
    "is not healthy": "UNAVAILABLE",
    NOT_LOADED: "UNAVAILABLE",
    "the step failed (": "INTERNAL",
    "inference failed (": "INTERNAL",
    "Failed to process the request": "INTERNAL",
}
"""Codes of server faults by a part of the message: a dead process, a model that is not loaded, an error in a step, in a
net, and in any other Python model."""


class StepError(Exception):
    """An error for the client.

    Args:
        message: message for the client.
        code: code of ``pb_utils.TritonError``.
    """

    def __init__(self, message: str, code: Any) -> None:
        super().__init__(message)
        self.code = code


def error_of_model(error, describe: Callable[[str], str] = str) -> StepError:
    """Error to raise where a model that was asked inside the server gave one: its message and code.

    Triton 2.51 gives INTERNAL for every such error. The message then tells a fault of the server (:data:`FAULTS`);
    without one the request was refused. The stack, which contains paths, is left out.

    Args:
        error: the model's ``pb_utils.TritonError``.
        describe: message for the client from the model's.
    """
    message, code = error.message(), error.code()
    if code == pb_utils.TritonError.INTERNAL:
        found = (code for part, code in FAULTS.items() if part in message)
        code = getattr(pb_utils.TritonError, next(found, "INVALID_ARG"))
    return StepError(describe(message.partition("\n\nAt:")[0]), code)


def response_of(error: Exception):
    """Response with an error: a :class:`StepError` as it is; of others only the type, as the message may contain paths.

    The message of the others is logged.
    """
    if isinstance(error, StepError):
        return _failed(str(error), error.code)
    pb_utils.Logger.log_error(f"{type(error).__name__}: {error}")
    return _failed(f"the step failed ({type(error).__name__}): see the server's log", pb_utils.TritonError.INTERNAL)


def _failed(message: str, code: Any):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
