"""Triton step: converts a VOI in HU to the images of a method."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports] # in Triton's Python stub

sys.path.insert(0, str(Path(__file__).resolve().parent))

from served_view import answers, array, core, diameter_of, load_view, names_of
from step_errors import NOT_LOADED, error_of_model

LONG_AXIS = 1
"""Index of the long axis in ``DIAMETERS_MM``."""


class TritonPythonModel:
    """VOI, SPACING, CENTER (and DIAMETER) -> IMAGE ``[N, C, ...]`` in 0..1 (and USED_DIAMETER)."""

    def initialize(self, args: dict[str, str]) -> None:
        """Build the view; ``max_slices`` limits the slices per nodule of a slice-wise view."""
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        self._takes_diameter = "DIAMETER" in names_of(config, "input")
        self._view = load_view()
        self._max_slices = int(parameters["max_slices"]) if self._view.slicewise else 0
        self._measured_by = parameters.get("measured_by", "")

    def execute(self, requests: list) -> list:
        """Answer every request; a VOI that cannot be analysed is refused with the reason."""
        return answers(requests, self._answer)

    def _answer(self, request) -> dict[str, np.ndarray]:
        voi, spacing, center = (array(request, name) for name in ("VOI", "SPACING", "CENTER"))
        core.check_request(voi, spacing, center)
        diameter = self._diameter(request) if self._takes_diameter else None
        x, y, z = voi.shape
        patch = self._view.patch((x, y, z), core.floats(spacing), core.floats(center), diameter)
        self._check_extent(patch)
        tensors = {"IMAGE": np.ascontiguousarray(self._view.batch(voi, patch), dtype=np.float32)}
        if diameter is not None:
            tensors["USED_DIAMETER"] = np.array([diameter], dtype=np.float32)
        return tensors

    def _diameter(self, request) -> float:
        """Declared diameter, or else the one that the model ``measured_by`` measures in the VOI."""
        declared = diameter_of(request)
        if declared is None:
            return self._measure_diameter(request)
        core.check_diameter(declared)
        return declared

    def _measure_diameter(self, request) -> float:
        """Long axis in mm of the mask of the model ``measured_by``.

        Raises:
            ValueError: the model is not loaded, or measures no diameter of a nodule (:func:`core.check_diameter`).
            StepError: the model gave an error.
        """
        asked = pb_utils.InferenceRequest(
            model_name=self._measured_by,
            requested_output_names=["DIAMETERS_MM"],
            inputs=[pb_utils.get_input_tensor_by_name(request, name) for name in ("VOI", "SPACING", "CENTER")],
        )
        answer = asked.exec()
        if answer.has_error():
            raise self._without_answer(answer.error())
        found = float(pb_utils.get_output_tensor_by_name(answer, "DIAMETERS_MM").as_numpy()[LONG_AXIS])
        try:
            core.check_diameter(found)
        except ValueError:
            reason = f"no DIAMETER is given, and {self._measured_by} finds no nodule of a possible size here"
            raise ValueError(f"{reason}: give it in mm") from None
        return found

    def _without_answer(self, error) -> Exception:
        """Error to raise where the model ``measured_by`` gave an error."""
        missing = f"no DIAMETER is given, and {self._measured_by} does not measure it"
        if NOT_LOADED in error.message():
            return ValueError(f"{missing}: give it in mm")
        return error_of_model(error, lambda message: f"{missing} ({message})")

    def _check_extent(self, patch) -> None:
        """Refuse patches with too few voxels to show a nodule or too many slices for a batch."""
        if max(patch.spacing) > patch.patch_mm:
            raise ValueError(f"spacing must be in mm and below the patch of {patch.patch_mm:g} mm, got {patch.spacing}")
        if self._view.slicewise and len(patch.slices) > self._max_slices:
            raise ValueError(
                f"the patch holds {len(patch.slices)} slices at a z spacing of {patch.spacing[2]:g} mm, this server "
                f"takes {self._max_slices}: resample the VOI along z"
            )
