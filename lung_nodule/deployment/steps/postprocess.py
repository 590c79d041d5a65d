"""Triton step: the outputs of a method's nets become maps on the VOI's grid and scores of the nodule."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub

sys.path.insert(0, str(Path(__file__).resolve().parent))

from served_view import OF_REQUEST, array, diameter_of, load_view, tensors


class TritonPythonModel:
    """The nets' outputs, VOI, SPACING, CENTER (and DIAMETER) -> the tensors that the config names.

    ``MALIGNANCY_PROBABILITY`` ``[1]`` and ``MALIGNANCY_INTERVAL`` ``[2]``, its range over mirrored copies;
    ``<MAP>_PROBABILITY``, a map of the view, ``MASK_PROBABILITY``, its last one, and ``MASK`` (uint8), all on the VOI's
    grid; ``ATTRIBUTES``, their values or probabilities in the view's order.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Build the view."""
        config = json.loads(args["model_config"])
        self._inputs, self._outputs = tensors(config, "input"), tensors(config, "output")
        self._view = load_view()

    def execute(self, requests: list) -> list:
        """Answer every request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        voi, diameter = array(request, "VOI"), diameter_of(request, self._inputs)
        spacing, center = (tuple(array(request, name).tolist()) for name in ("SPACING", "CENTER"))
        patch = self._view.patch(voi.shape, spacing, center, diameter)
        prediction = self._view.predict(self._given(request), patch, voi, diameter)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, _tensor(prediction, name)) for name in self._outputs])

    def _given(self, request) -> dict[str, np.ndarray]:
        """The nets' outputs, float32 ``[N, ...]`` by name of the view's channels."""
        names = [name for name in self._inputs if name not in OF_REQUEST]
        if names == ["PRED"]:
            return self._view.named(array(request, "PRED"))
        return {name.lower(): array(request, name)[:, 0] for name in names}


def _tensor(prediction, name: str) -> np.ndarray:
    if name == "MALIGNANCY_PROBABILITY":
        return np.array([prediction.score], dtype=np.float32)
    if name == "MALIGNANCY_INTERVAL":
        return np.array(prediction.interval or (prediction.score,) * 2, dtype=np.float32)
    if name == "ATTRIBUTES":
        return np.array(list((prediction.attributes or prediction.attribute_probs).values()), dtype=np.float32)
    if name == "MASK":
        return prediction.mask.astype(np.uint8)
    of_map = name.removesuffix("_PROBABILITY").lower()
    return prediction.on_voi(list(prediction.maps)[-1] if of_map == "mask" else of_map)
