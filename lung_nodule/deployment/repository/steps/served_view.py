"""Code shared by the Python steps: view of the exported model, and conversion of requests to arrays.

The export writes this file next to each step's ``model.py``, together with ``view.json`` and an unchanged copy of
``lung_nodule.core``, which takes precedence over any installed one.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lung_nodule import core  # noqa: E402
from step_errors import StepError, response_of  # noqa: E402

OF_REQUEST = ("VOI", "SPACING", "CENTER", "DIAMETER")


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

    A ``ValueError`` refuses the request with its message; for other exceptions see ``step_errors.response_of``.
    """
    return [_response(request, answer) for request in requests]


def _response(request, answer: Callable):
    try:
        tensors = answer(request)
    except ValueError as error:
        return response_of(StepError(str(error), pb_utils.TritonError.INVALID_ARG))
    except Exception as error:
        return response_of(error)
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in tensors.items()])
