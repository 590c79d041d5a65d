"""Triton step: converts the outputs of a method's nets to maps on the VOI's grid and scores of the nodule."""

from __future__ import annotations

import json
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from served_view import OF_REQUEST, answers, array, core, diameter_of, load_view, names_of


class TritonPythonModel:
    """The nets' outputs, VOI, SPACING, CENTER (and DIAMETER) -> the outputs of the config.

    ``MALIGNANCY_PROBABILITY`` ``[1]`` and ``MALIGNANCY_INTERVAL`` ``[2]``, its range over mirrored copies;
    ``<MAP>_PROBABILITY``, a map of the view, ``MASK_PROBABILITY``, the last map, and ``MASK`` (uint8), all on the VOI's
    grid; ``VOLUME_MM3`` ``[1]`` and ``DIAMETERS_MM`` ``[3]`` of the mask: equivalent diameter, axial long axis, axial
    short axis; ``ATTRIBUTES``, ratings on the readers' scales in the view's order (NaN if there is none), and
    ``HIGH_PROBABILITY``; ``DIAMETER_MM`` ``[1]``, the diameter that was used.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Build the view."""
        config = json.loads(args["model_config"])
        self._outputs = names_of(config, "output")
        self._of_nets = [name for name in names_of(config, "input") if name not in OF_REQUEST]
        self._view = load_view()

    def execute(self, requests: list) -> list:
        """Answer every request."""
        return answers(requests, self._answer)

    def _answer(self, request) -> dict[str, np.ndarray]:
        voi, diameter = array(request, "VOI"), diameter_of(request)
        spacing, center = (tuple(array(request, name).tolist()) for name in ("SPACING", "CENTER"))
        patch = self._view.patch(voi.shape, spacing, center, diameter)
        prediction = self._view.predict(self._given(request), patch, voi, diameter)
        asked = set(request.requested_output_names())
        return {name: self._tensor(prediction, name, diameter) for name in self._outputs if name in asked}

    def _given(self, request) -> dict[str, np.ndarray]:
        """Outputs of the nets, float32 ``[N, ...]`` by channel name of the view."""
        if self._of_nets == ["PRED"]:
            return self._view.named(array(request, "PRED"))
        return {name.lower(): array(request, name)[:, 0] for name in self._of_nets}

    def _tensor(self, prediction, name: str, diameter: float | None) -> np.ndarray:
        if name == "MASK":
            return prediction.mask.astype(np.uint8)
        if name in ("VOLUME_MM3", "DIAMETERS_MM"):
            volume, *diameters = astuple(core.size_of(prediction.mask, np.array(prediction.patch.spacing)))
            return np.array([volume] if name == "VOLUME_MM3" else diameters, dtype=np.float32)
        scalars = {
            "MALIGNANCY_PROBABILITY": lambda: [prediction.score],
            "MALIGNANCY_INTERVAL": lambda: prediction.interval or (prediction.score,) * 2,
            "ATTRIBUTES": lambda: [prediction.attributes.get(rated, np.nan) for rated in self._view.rated],
            "HIGH_PROBABILITY": lambda: [prediction.attribute_probs[high] for high in self._view.judged_high],
            "DIAMETER_MM": lambda: [diameter],
        }
        if name in scalars:
            return np.array(scalars[name](), dtype=np.float32)
        of_map = name.removesuffix("_PROBABILITY").lower()
        return prediction.on_voi(list(prediction.maps)[-1] if of_map == "mask" else of_map)
