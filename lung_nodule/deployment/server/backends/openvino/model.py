"""OpenVINO as a Python-based Triton backend.

Triton finds this file as ``backends/openvino/model.py`` and uses it for every model whose config says
``backend: "openvino"``. It runs inside Triton's Python stub, so it imports nothing of this library.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub
from net_model import NetModel, parameter, threads  # pyright: ignore[reportMissingImports] # beside this file

_HINT = "INFERENCE_PRECISION_HINT"


class TritonPythonModel(NetModel):
    """A compiled model on the CPU, in the precision that the config names."""

    def open(self, path: Path, config: dict) -> None:
        """Compile the file; where the CPU lacks the precision, OpenVINO takes float32, which the log says."""
        hint = parameter(config, _HINT)
        if not hint:
            raise pb_utils.TritonModelException(f"{config['name']}: config.pbtxt lacks the parameter {_HINT}")
        options = {_HINT: hint, "INFERENCE_NUM_THREADS": threads(config), "NUM_STREAMS": 1}
        core = openvino.Core()
        self._model = core.compile_model(core.read_model(str(path)), "CPU", options)
        taken = self._model.get_property(_HINT).get_type_name()
        pb_utils.Logger.log_info(f"{config['name']}: OpenVINO {openvino.__version__}, {_HINT} {hint}, taken {taken}")
        self._request = self._model.create_infer_request()

    def tensor_types(self) -> dict[str, dict[str, str]]:
        """As the compiled model has them."""
        tensors = {"input": self._model.inputs, "output": self._model.outputs}
        return {
            role: {tensor.get_any_name(): _triton_type(tensor.get_element_type()) for tensor in found}
            for role, found in tensors.items()
        }

    def run(self, names: list[str], images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """One inference; the answers are copied, as the next one writes into the same memory."""
        self._request.infer(dict(images))
        return [self._request.get_tensor(name).data.copy() for name in names]

    def finalize(self) -> None:
        """Free the compiled model."""
        del self._request, self._model


def _triton_type(element: openvino.Type) -> str:
    """``f32`` as ``TYPE_FP32``."""
    name = element.get_type_name()
    return f"TYPE_FP{name[1:]}" if name[:1] == "f" and name[1:].isdigit() else name
