"""Triton step: a VOI in HU becomes the slices that MT-Net looks at."""

import json
import sys
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

HERE = Path(__file__).resolve().parent
# The export puts an unchanged copy of lung_nodule.core beside this file; it goes before any installed one.
sys.path.insert(0, str(HERE))

from lung_nodule import core  # noqa: E402


class TritonPythonModel:
    """VOI, SPACING, CENTER -> IMAGE [slices, 1, x, y] in 0..1, SHAPE of the VOI."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the patch's settings from the model's parameters."""
        if HERE not in Path(core.__file__).resolve().parents:
            raise pb_utils.TritonModelException("lung_nodule.core is not the copy beside this step: export again")
        parameters = json.loads(args["model_config"])["parameters"]
        text = {key: value["string_value"] for key, value in parameters.items()}
        self._max_slices = int(text["max_slices"])
        self._window = tuple(float(value) for value in text["window"].split())
        self._patch = {
            "patch_mm": float(text["patch_mm"]),
            "z_patch_mm": float(text["z_patch_mm"]),
            "image_size": int(text["image_size"]),
        }

    def execute(self, requests: list) -> list:
        """Answer every request; a VOI that no answer should be given for is refused with the reason."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        voi, spacing, center = (_array(request, name) for name in ("VOI", "SPACING", "CENTER"))
        try:
            core.check_voi(voi, spacing, center)
            patch = core.SlicePatch(voi.shape, tuple(spacing.tolist()), tuple(center.tolist()), **self._patch)
            self._check_extent(patch)
        except ValueError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        image = patch.sample(core.window(voi, *self._window))[:, None]
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("IMAGE", image), pb_utils.Tensor("SHAPE", np.asarray(voi.shape, dtype=np.int32))]
        )

    def _check_extent(self, patch) -> None:
        """A patch of few voxels shows no nodule, one of very many slices does not fit into a batch."""
        if max(patch.spacing) > patch.patch_mm:
            raise ValueError(f"spacing must be in mm and below the patch of {patch.patch_mm:g} mm, got {patch.spacing}")
        if len(patch.slices) > self._max_slices:
            raise ValueError(
                f"the patch of {patch.z_patch_mm:g} mm holds {len(patch.slices)} slices at a z spacing of "
                f"{patch.spacing[2]:g} mm, this server takes {self._max_slices}: resample the VOI along z"
            )


def _array(request, name: str) -> np.ndarray:
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()
