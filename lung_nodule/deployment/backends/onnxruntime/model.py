"""ONNX Runtime as a Python-based Triton backend.

Triton finds this file as ``backends/onnxruntime/model.py`` and uses it for every model whose config says
``platform: "onnxruntime_onnx"``. In NVIDIA's container the C++ backend of the same name answers instead, with the same
model repository. It runs inside Triton's Python stub, so it imports nothing of this library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub

_ONNX_TO_TRITON = {
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(double)": "TYPE_FP64",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(bool)": "TYPE_BOOL",
}


class TritonPythonModel:
    """One instance of one ONNX model: merges the requests Triton hands over into one run and splits the answers."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """Leave the committed config as it is."""
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model file named by the config and check its tensors against the config."""
        config = json.loads(args["model_config"])
        self._name = config["name"]
        self._batching = config["max_batch_size"] > 0
        file_name = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / file_name
        if not path.is_file():
            raise pb_utils.TritonModelException(f"{self._name}: version {args['model_version']} has no {file_name}")
        self._session = onnxruntime.InferenceSession(
            str(path), sess_options=_session_options(config), providers=["CPUExecutionProvider"]
        )
        _check_tensors(self._name, "input", config["input"], self._session.get_inputs())
        _check_tensors(self._name, "output", config["output"], self._session.get_outputs())
        self._inputs = [tensor["name"] for tensor in config["input"]]

    def execute(self, requests: list) -> list:
        """Answer every request; requests that came together run as one batch where the model batches."""
        if self._batching:
            return self._answer(requests)
        return [response for request in requests for response in self._answer([request])]

    def finalize(self) -> None:
        """Free the session."""
        del self._session

    def _answer(self, requests: list) -> list:
        feeds = [{name: _array(request, name) for name in self._inputs} for request in requests]
        names = sorted({name for request in requests for name in request.requested_output_names()})
        merged = {name: _joined([feed[name] for feed in feeds]) for name in self._inputs}
        try:
            answers = cast(list[np.ndarray], self._session.run(names, merged))
        except Exception as error:  # ONNX Runtime's errors share no other base class
            pb_utils.Logger.log_error(f"{self._name}: {error}")
            message = f"{self._name}: inference failed ({type(error).__name__}); the server's log has the details"
            failure = pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL)
            return [pb_utils.InferenceResponse(error=failure) for _ in requests]
        outputs = dict(zip(names, answers, strict=True))
        if len(requests) == 1:
            return [_response(requests[0], outputs)]
        bounds = np.cumsum([len(feed[self._inputs[0]]) for feed in feeds])[:-1]
        parts = {name: np.split(value, bounds) for name, value in outputs.items()}
        return [
            _response(request, {name: pieces[index] for name, pieces in parts.items()})
            for index, request in enumerate(requests)
        ]


def _session_options(config: dict) -> onnxruntime.SessionOptions:
    """Bounded threads: the parameter of the C++ backend where given, else the cores this process may use."""
    options = onnxruntime.SessionOptions()
    threads = config.get("parameters", {}).get("intra_op_thread_count", {}).get("string_value")
    options.intra_op_num_threads = int(threads) if threads else len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    # Several nets share the cores: a thread that spins while another net computes costs more than it gains.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _check_tensors(model: str, role: str, configured: list[dict], found: Sequence[Any]) -> None:
    types = {tensor.name: _ONNX_TO_TRITON.get(tensor.type, tensor.type) for tensor in found}
    for tensor in configured:
        name, data_type = tensor["name"], tensor["data_type"]
        if types.get(name) != data_type:
            raise pb_utils.TritonModelException(
                f"{model}: config.pbtxt has {role} {name} {data_type}, the ONNX file has {types}"
            )


def _array(request, name: str) -> np.ndarray:
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _response(request, outputs: dict[str, np.ndarray]):
    tensors = [pb_utils.Tensor(name, np.ascontiguousarray(outputs[name])) for name in request.requested_output_names()]
    return pb_utils.InferenceResponse(output_tensors=tensors)
