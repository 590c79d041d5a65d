"""OpenVINO as a Python-based Triton backend.

Triton finds this file as ``backends/openvino/model.py`` and uses it for every model whose config says
``backend: "openvino"``. It runs inside Triton's Python stub, so it does not import this library.
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
    """Compiled model on the CPU, in the precision of the config."""

    def open(self, path: Path, config: dict) -> None:
        """Compile the file; if the CPU lacks the precision, OpenVINO uses float32, as logged."""
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
        """See :meth:`NetModel.tensor_types`."""
        tensors = {"input": self._model.inputs, "output": self._model.outputs}
        return {
            role: {tensor.get_any_name(): _triton_type(tensor.get_element_type()) for tensor in found}
            for role, found in tensors.items()
        }

    def run(self, names: list[str], images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run one inference; the answers are copied, as the next inference reuses their memory."""
        self._request.infer(dict(images))
        return [self._request.get_tensor(name).data.copy() for name in names]

    def finalize(self) -> None:
        """Free the compiled model."""
        del self._request, self._model


def _triton_type(element: openvino.Type) -> str:
    """Triton data type of an OpenVINO type, such as ``TYPE_FP32`` for ``f32``."""
    name = element.get_type_name()
    return f"TYPE_FP{name[1:]}" if name[:1] == "f" and name[1:].isdigit() else name
