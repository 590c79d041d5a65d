"""Triton step: a VOI in HU becomes the images of a method."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub

sys.path.insert(0, str(Path(__file__).resolve().parent))

from served_view import array, core, diameter_of, load_view, tensors


class TritonPythonModel:
    """VOI, SPACING, CENTER (and DIAMETER) -> IMAGE ``[N, C, ...]`` in 0..1."""

    def initialize(self, args: dict[str, str]) -> None:
        """Build the view; of a slice-wise one ``max_slices`` bounds the slices of a nodule."""
        config = json.loads(args["model_config"])
        self._inputs = tensors(config, "input")
        self._view = load_view()
        if self._view.slicewise:
            self._max_slices = int(config["parameters"]["max_slices"]["string_value"])

    def execute(self, requests: list) -> list:
        """Answer every request; a VOI that cannot be analysed is refused with the reason."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        voi, spacing, center = (array(request, name) for name in ("VOI", "SPACING", "CENTER"))
        diameter = diameter_of(request, self._inputs)
        try:
            core.check_voi(voi, spacing, center)
            x, y, z = voi.shape
            patch = self._view.patch((x, y, z), core.floats(spacing), core.floats(center), diameter)
            self._check_extent(patch)
        except ValueError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        image = np.ascontiguousarray(self._view.batch(voi, patch), dtype=np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("IMAGE", image)])

    def _check_extent(self, patch) -> None:
        """A patch of few voxels shows no nodule, one of very many slices does not fit into a batch."""
        if max(patch.spacing) > patch.patch_mm:
            raise ValueError(f"spacing must be in mm and below the patch of {patch.patch_mm:g} mm, got {patch.spacing}")
        if self._view.slicewise and len(patch.slices) > self._max_slices:
            raise ValueError(
                f"the patch holds {len(patch.slices)} slices at a z spacing of {patch.spacing[2]:g} mm, this server "
                f"takes {self._max_slices}: resample the VOI along z"
            )
