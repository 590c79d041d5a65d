"""Triton step: MT-Net's slices become maps on the VOI's grid and one probability of the nodule."""

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
    """COARSE, FINE, MALIGNANCY of the slices -> the VOI's two maps and the nodule's probability."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the patch's settings from the model's parameters."""
        if HERE not in Path(core.__file__).resolve().parents:
            raise pb_utils.TritonModelException("lung_nodule.core is not the copy beside this step: export again")
        parameters = json.loads(args["model_config"])["parameters"]
        text = {key: value["string_value"] for key, value in parameters.items()}
        self._patch = {
            "patch_mm": float(text["patch_mm"]),
            "z_patch_mm": float(text["z_patch_mm"]),
            "image_size": int(text["image_size"]),
        }

    def execute(self, requests: list) -> list:
        """Answer every request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        coarse, fine = _array(request, "COARSE")[:, 0], _array(request, "FINE")[:, 0]
        shape, spacing, center = (tuple(_array(request, name).tolist()) for name in ("SHAPE", "SPACING", "CENTER"))
        patch = core.SlicePatch(shape, spacing, center, **self._patch)
        weights = core.slice_weights(coarse, patch)
        score = core.nodule_score(_array(request, "MALIGNANCY")[:, 0], weights)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("COARSE_PROBABILITY", patch.restore(coarse)),
                pb_utils.Tensor("FINE_PROBABILITY", patch.restore(fine)),
                pb_utils.Tensor("MALIGNANCY_PROBABILITY", np.array([score], dtype=np.float32)),
            ]
        )


def _array(request, name: str) -> np.ndarray:
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()
