"""Code shared by the Python steps: view of the exported model, and conversion of requests to arrays.

The export writes this file next to each step's ``model.py``, together with ``view.json`` and an unchanged copy of
``lung_nodule.core``, which takes precedence over any installed one.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lung_nodule import core  # noqa: E402

OF_REQUEST = ("VOI", "SPACING", "CENTER", "DIAMETER")
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


class AskedModelError(Exception):
    """A model that this step asked inside the server gave an error.

    Args:
        message: message for the client.
        code: code of ``pb_utils.TritonError``.
    """

    def __init__(self, message: str, code: Any) -> None:
        super().__init__(message)
        self.code = code


def load_view() -> core.NoduleView:
    """Build the view described in ``view.json`` from the settings in that file."""
    if HERE not in Path(core.__file__).resolve().parents:
        raise pb_utils.TritonModelException("lung_nodule.core is not the copy next to this step: export again")
    written = json.loads((HERE / "view.json").read_text(encoding="utf-8"))
    view, settings = _import_class(written["view"]), written["settings"]
    if "make_channels" not in written:
        return view.from_settings(settings)
    try:
        make_channels = _import_class(written["make_channels"])(**settings["channels"])
        make_channels.check_installed()
    except ImportError as error:
        raise pb_utils.TritonModelException(f"this model's image channels need scikit-image: {error}") from None
    return view.from_settings(settings, make_channels=make_channels)


def _import_class(name: str) -> type:
    """Import a class given as ``module:Class``."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def names_of(config: dict, role: str) -> list[str]:
    """Names of a model config's tensors: ``role`` is ``input`` or ``output``."""
    return [tensor["name"] for tensor in config[role]]


def array(request, name: str) -> np.ndarray:
    """Input tensor of a request as an array."""
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()


def diameter_of(request) -> float | None:
    """Declared diameter of the nodule in mm; None if the request has none."""
    tensor = pb_utils.get_input_tensor_by_name(request, "DIAMETER")
    return None if tensor is None else float(tensor.as_numpy().ravel()[0])


def answers(requests: list, answer: Callable) -> list:
    """Return one response per request.

    A ``ValueError`` refuses the request with its message, an :class:`AskedModelError` gives its message and code. For
    other exceptions the client gets only the type, as the message may contain paths; the message is logged.
    """
    return [_response(request, answer) for request in requests]


def _response(request, answer: Callable):
    try:
        tensors = answer(request)
    except ValueError as error:
        return _refusal(str(error), pb_utils.TritonError.INVALID_ARG)
    except AskedModelError as error:
        return _refusal(str(error), error.code)
    except Exception as error:
        pb_utils.Logger.log_error(f"{type(error).__name__}: {error}")
        return _refusal(
            f"the step failed ({type(error).__name__}): see the server's log", pb_utils.TritonError.INTERNAL
        )
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in tensors.items()])


def code_of(error) -> Any:
    """Code to pass on for the error of a model that was asked inside the server.

    Triton 2.51 gives INTERNAL for every such error. The message then tells a fault of the server (:data:`FAULTS`);
    without one the request was refused.
    """
    if error.code() != pb_utils.TritonError.INTERNAL:
        return error.code()
    found = (code for part, code in FAULTS.items() if part in error.message())
    return getattr(pb_utils.TritonError, next(found, "INVALID_ARG"))


def reason_of(error) -> str:
    """Message of a model that was asked inside the server, without the stack, which contains paths."""
    return error.message().partition("\n\nAt:")[0]


def _refusal(message: str, code: Any):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
