"""The steps that ask other models inside the server, run without a server: measured diameters, and errors passed on."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lung_nodule.deployment.connection.transport import DEAD_MODEL
from lung_nodule.deployment.repository.model_repository import STEPS, copy_core
from tests.deployment.repository.test_steps import (
    CENTER,
    SPACING,
    Request,
    Response,
    Tensor,
    TritonError,
    lung,
    process,  # noqa: F401 # a fixture
    started,
    written,
)
from tests.module_file import module_from

pytestmark = pytest.mark.usefixtures("process")
DEAD = "in ensemble 'mtnet', Stub process 'mtnet_postprocess_0_0' is not healthy."
UNLOADED = (
    "Model mtnet - Error when running inference: Failed for execute the inference request. Model 'mtnet' is not ready."
)
STEP = "in ensemble 'mtnet', the step failed (KeyError): see the server's log"
NET = "in ensemble 'mtnet', mtnet_fine: inference failed (MemoryError); the server's log has the details"
OTHER = (
    "Failed to process the request(s) for model 'mtnet_0_0', message: OSError: gone\n\nAt:\n  /srv/model.py(11): f\n"
)
REFUSED = "in ensemble 'mtnet', the centre lies outside the VOI"
CODES = {
    DEAD: TritonError.UNAVAILABLE,
    STEP: TritonError.INTERNAL,
    NET: TritonError.INTERNAL,
    OTHER: TritonError.INTERNAL,
    REFUSED: TritonError.INVALID_ARG,
}
"""What Triton 2.51 says of a model that was asked inside the server, always with INTERNAL, and the code to pass on."""
PARAMETERS = {
    "methods": "mtnet mtmrnet",
    "rated_by": "mtmrnet",
    "sized": "mtmrnet",
    "measured_by": "mtnet",
    "maps": "mtnet:FINE_PROBABILITY",
    "map_weights": "1",
    "attributes": "subtlety",
}
SCORES = {"mtnet": 0.2, "mtmrnet": 0.6}


class Asked:
    """What a model that was asked inside the server answers: tensors, or an error with a message and a code."""

    def __init__(self, tensors: dict[str, list[float]] | None = None, message: str = "", code: int = 0) -> None:
        self.tensors, self._message, self._code = tensors or {}, message, code or TritonError.INTERNAL

    def has_error(self) -> bool:
        return bool(self._message)

    def error(self) -> Any:
        return SimpleNamespace(message=lambda: self._message, code=lambda: self._code)


class Models:
    """The models of a simulated server, and the inputs that each was asked with."""

    def __init__(self, diameter: float, failing: dict[str, Asked] | None = None) -> None:
        self.diameter, self.failing = diameter, failing or {}
        self.given: dict[str, dict[str, np.ndarray]] = {}

    def answer(self, model: str, inputs: list[Tensor]) -> Asked:
        self.given[model] = {tensor.name(): tensor.array for tensor in inputs}
        score = SCORES[model]
        tensors = {"MALIGNANCY_PROBABILITY": [score], "MALIGNANCY_INTERVAL": [score, score], "ATTRIBUTES": [3.0]}
        return self.failing.get(model) or Asked(tensors | {"DIAMETERS_MM": [0.0, self.diameter, 0.0]})


def serve(models: Models) -> ModuleType:
    """Let the steps' module of Triton ask these models."""

    class InferenceRequest:
        def __init__(self, model_name: str, requested_output_names: list[str], inputs: list[Tensor]) -> None:
            self.exec = lambda: models.answer(model_name, inputs)

        async def async_exec(self) -> Asked:
            return self.exec()

    module = sys.modules["triton_python_backend_utils"]
    module.InferenceRequest = InferenceRequest
    module.get_output_tensor_by_name = lambda answer, name: Tensor(name, np.float32(answer.tensors[name]))
    return module


def request(**more: np.ndarray) -> Request:
    return Request({"VOI": lung(), "SPACING": np.float32(SPACING), "CENTER": np.float32(CENTER), **more})


def measured(folder: Path, models: Models) -> Response:
    """What MTMR-Net's first step answers without a diameter."""
    serve(models)
    taken, parameters = ["VOI", "SPACING", "CENTER", "DIAMETER"], {"max_slices": "160", "measured_by": "mtnet"}
    (answered,) = started(written(folder, "mtmrnet", "preprocess"), taken, ["IMAGE"], parameters).execute([request()])
    return answered


class PanelRequest(Request):
    """A request whose tensors can be listed."""

    asked = ("MALIGNANCY_PROBABILITY", "MALIGNANCY_BY_METHOD", "DIAMETER_MM")

    def inputs(self) -> list[Tensor]:
        return [Tensor(name, array) for name, array in self.items()]


def panel_step(folder: Path) -> Any:
    """The panel's module, as the export writes it."""
    folder.mkdir()
    (folder / "model.py").write_bytes((STEPS / "panel.py").read_bytes())
    (folder / "step_errors.py").write_bytes((STEPS / "step_errors.py").read_bytes())
    copy_core(folder)
    return module_from(folder / "model.py")


def panel(folder: Path, models: Models, **more: np.ndarray) -> Response:
    """What the panel of two methods answers."""
    serve(models)
    model = panel_step(folder / "panel").TritonPythonModel()
    strings = {key: {"string_value": value} for key, value in PARAMETERS.items()}
    model.initialize({"model_config": json.dumps({"parameters": strings})})
    (answered,) = asyncio.run(model.execute([PanelRequest(request(**more))]))
    return answered


@pytest.mark.parametrize("diameter", [1.0, 12.5, 200.0])
def test_a_measured_diameter_is_used(diameter: float, tmp_path: Path) -> None:
    models = Models(diameter)
    assert measured(tmp_path, models).tensors["USED_DIAMETER"] == [diameter]
    joined = panel(tmp_path, models).tensors
    assert models.given["mtmrnet"]["DIAMETER"] == joined["DIAMETER_MM"] == [diameter]
    assert joined["MALIGNANCY_BY_METHOD"] == pytest.approx([0.2, 0.6])
    assert joined["MALIGNANCY_PROBABILITY"] == pytest.approx([0.4])


@pytest.mark.parametrize("diameter", [0.0, 0.7, 200.5, np.nan])
def test_a_measured_diameter_that_no_nodule_has_is_not_used(diameter: float, tmp_path: Path) -> None:
    """Such as that of a mask of one voxel, on pixels below 1 mm."""
    models = Models(diameter)
    refused = measured(tmp_path, models).error
    assert refused.code == TritonError.INVALID_ARG
    assert refused.message.startswith("no DIAMETER is given, and mtnet finds no nodule")
    joined = panel(tmp_path, models)
    assert joined.error is None
    assert "mtmrnet" not in models.given
    assert joined.tensors["DIAMETER_MM"] == [0]
    assert joined.tensors["MALIGNANCY_BY_METHOD"] == pytest.approx([0.2, np.nan], nan_ok=True)
    assert joined.tensors["MALIGNANCY_PROBABILITY"] == pytest.approx([0.2])


def test_a_declared_diameter_that_no_nodule_has_is_refused(tmp_path: Path) -> None:
    models = Models(12.5)
    refused = panel(tmp_path, models, DIAMETER=np.float32([0.7])).error
    assert (refused.code, models.given) == (TritonError.INVALID_ARG, {})
    assert "a diameter must be in mm, from 1 to 200, got 0.7" in refused.message


@pytest.mark.parametrize("message", CODES)
def test_an_error_inside_is_passed_on(message: str, tmp_path: Path) -> None:
    """With the code that the message tells, and without the paths of a stack."""
    models = Models(12.5, {"mtnet": Asked(message=message)})
    alone, joined = measured(tmp_path, models).error, panel(tmp_path, models).error
    shown = message.partition("\n")[0]
    assert (joined.code, joined.message) == (CODES[message], shown)
    assert (alone.code, alone.message) == (
        CODES[message],
        f"no DIAMETER is given, and mtnet does not measure it ({shown})",
    )


def test_a_code_that_triton_tells_is_passed_on(tmp_path: Path) -> None:
    models = Models(12.5, {"mtnet": Asked(message="the queue is full", code=TritonError.UNAVAILABLE)})
    assert measured(tmp_path, models).error.code == TritonError.UNAVAILABLE
    assert panel(tmp_path, models).error.code == TritonError.UNAVAILABLE


def test_a_method_that_is_not_loaded(tmp_path: Path) -> None:
    """MTMR-Net does without MT-Net if a diameter is given; the panel needs it."""
    models = Models(12.5, {"mtnet": Asked(message=UNLOADED)})
    refused = measured(tmp_path, models).error
    assert refused.code == TritonError.INVALID_ARG
    assert refused.message == "no DIAMETER is given, and mtnet does not measure it: give it in mm"
    assert panel(tmp_path, models).error.code == TritonError.UNAVAILABLE


def test_a_panel_that_fails_names_the_kind_of_error_and_no_path(tmp_path: Path) -> None:
    models = Models(12.5, {"mtmrnet": Asked({})})
    failed = panel(tmp_path, models).error
    assert failed.code == TritonError.INTERNAL
    assert failed.message == "the step failed (KeyError): see the server's log"


def test_a_dead_process_is_a_fault_for_which_the_client_asks_again(tmp_path: Path) -> None:
    panel_step(tmp_path / "panel")
    assert sys.modules["step_errors"].FAULTS[DEAD_MODEL] == "UNAVAILABLE"
