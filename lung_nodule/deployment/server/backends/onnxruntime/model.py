"""ONNX Runtime as a Python-based Triton backend.

Triton finds this file as ``backends/onnxruntime/model.py`` and uses it for every model whose config says
``platform: "onnxruntime_onnx"``. In NVIDIA's container the C++ backend of the same name answers instead, with the same
model repository. It runs inside Triton's Python stub, so it does not import this library. Execution accelerators
of the config need a GPU and are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
from net_model import NetModel, threads  # pyright: ignore[reportMissingImports] # beside this file where it runs

_ONNX_TO_TRITON = {
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(double)": "TYPE_FP64",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(bool)": "TYPE_BOOL",
}


class TritonPythonModel(NetModel):
    """ONNX Runtime session on the CPU."""

    def open(self, path: Path, config: dict) -> None:
        """Create the session."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads(config)
        options.inter_op_num_threads = 1
        # Several nets share the cores, so spinning threads slow the others down.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )

    def tensor_types(self) -> dict[str, dict[str, str]]:
        """See :meth:`NetModel.tensor_types`."""
        tensors = {"input": self._session.get_inputs(), "output": self._session.get_outputs()}
        return {
            role: {str(tensor.name): _ONNX_TO_TRITON.get(tensor.type, str(tensor.type)) for tensor in found}
            for role, found in tensors.items()
        }

    def run(self, names: list[str], images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See :meth:`NetModel.run`."""
        return cast(list[np.ndarray], self._session.run(names, dict(images)))

    def finalize(self) -> None:
        """Free the session."""
        del self._session
