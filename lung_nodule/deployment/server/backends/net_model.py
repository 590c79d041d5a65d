"""Base class of the Python-based Triton backends: checks tensors against the config and merges requests.

This file is copied next to each backend's ``model.py`` and runs inside Triton's Python stub, so it does not import this
library.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub

IMAGES_AT_ONCE = 64
"""Maximum images per inference call; larger batches are split. More images need memory and are not faster."""


class NetModel(ABC):
    """Instance of an ONNX model that merges Triton's requests into one batch and splits the answers."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """Leave the committed config as it is."""
        return auto_complete_model_config

    @abstractmethod
    def open(self, path: Path, config: dict) -> None:
        """Open a model file.

        Args:
            path: ONNX file.
            config: model config from Triton.
        """

    @abstractmethod
    def tensor_types(self) -> dict[str, dict[str, str]]:
        """Triton data types of the file's tensors by name, under ``input`` and ``output``."""

    @abstractmethod
    def run(self, names: list[str], images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run the model and return the named outputs in order."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model file named by the config and check its tensors against the config."""
        config = json.loads(args["model_config"])
        self._name = config["name"]
        self._batching = config["max_batch_size"] > 0
        file_name = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / file_name
        if not path.is_file():
            raise pb_utils.TritonModelException(f"{self._name}: version {args['model_version']} has no {file_name}")
        self.open(path, config)
        for role, types in self.tensor_types().items():
            _check_tensors(self._name, role, config[role], types)
        self._inputs = [tensor["name"] for tensor in config["input"]]

    def execute(self, requests: list) -> list:
        """Answer every request; concurrent requests run as one batch if the model supports batching."""
        if self._batching:
            return self._answer(requests)
        return [response for request in requests for response in self._answer([request])]

    def _answer(self, requests: list) -> list:
        feeds = [{name: _array(request, name) for name in self._inputs} for request in requests]
        names = sorted({name for request in requests for name in request.requested_output_names()})
        merged = {name: _concatenate([feed[name] for feed in feeds]) for name in self._inputs}
        try:
            answers = self._in_parts(names, merged) if self._batching else self.run(names, merged)
        except Exception as error:  # the engines' errors share no other base class
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

    def _in_parts(self, names: list[str], images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run a batch of any size in bounded memory."""
        parts = -(-len(images[self._inputs[0]]) // IMAGES_AT_ONCE)
        if parts < 2:
            return self.run(names, images)
        split = {name: np.array_split(values, parts) for name, values in images.items()}
        answers = [self.run(names, {name: pieces[part] for name, pieces in split.items()}) for part in range(parts)]
        return [np.concatenate(pieces) for pieces in zip(*answers, strict=True)]


def parameter(config: dict, name: str) -> str:
    """Parameter of the model config; empty if missing."""
    return config.get("parameters", {}).get(name, {}).get("string_value", "")


def threads(config: dict) -> int:
    """Number of threads: the parameter of the C++ backend if given, else the cores available to this process."""
    return int(parameter(config, "intra_op_thread_count") or len(os.sched_getaffinity(0)))


def _check_tensors(model: str, role: str, configured: list[dict], types: Mapping[str, str]) -> None:
    for tensor in configured:
        name, data_type = tensor["name"], tensor["data_type"]
        if types.get(name) != data_type:
            raise pb_utils.TritonModelException(
                f"{model}: config.pbtxt has {role} {name} {data_type}, the ONNX file has {types}"
            )


def _array(request, name: str) -> np.ndarray:
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()


def _concatenate(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _response(request, outputs: dict[str, np.ndarray]):
    tensors = [pb_utils.Tensor(name, np.ascontiguousarray(outputs[name])) for name in request.requested_output_names()]
    return pb_utils.InferenceResponse(output_tensors=tensors)
