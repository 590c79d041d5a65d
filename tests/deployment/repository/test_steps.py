"""The two generic Triton steps with every method's view, run as the server runs them but without a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from lung_nodule.core import Prediction, size_of
from lung_nodule.data import CubeChannels
from lung_nodule.deployment.repository.model_repository import Filling, write_step
from lung_nodule.methods import METHODS
from tests.deployment.conftest import ONE_NET, SETTINGS
from tests.module_file import module_from

SIDE_FILES = {"mtnet": SETTINGS, **ONE_NET}
READ_OUT = {
    "mtnet": "mask_log_volume", "mtmrnet": "ball_hu_mean", "mtcnn": "core_calcified", "e2emtl": "mask_calcified",
}  # fmt: skip
"""What the read-out of each method takes besides the logit in this test."""
SHAPE, SPACING, CENTER, DIAMETER = (40, 44, 24), (0.9, 0.8, 1.5), (19.25, 22.5, 11.75), 12.0
GEOMETRY = {"SPACING": np.float32(SPACING), "CENTER": np.float32(CENTER), "DIAMETER": np.float32([DIAMETER])}
OUTPUTS = {
    "mtnet": ["COARSE_PROBABILITY", "FINE_PROBABILITY", "MALIGNANCY_PROBABILITY", "MASK", "VOLUME_MM3"],
    "mtmrnet": ["MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL", "ATTRIBUTES", "DIAMETER_MM"],
    "mtcnn": ["MALIGNANCY_PROBABILITY"],
    "e2emtl": ["MASK_PROBABILITY", "MASK", "DIAMETERS_MM", "MALIGNANCY_PROBABILITY", "HIGH_PROBABILITY"],
}
MAPS = {"COARSE_PROBABILITY": "coarse", "FINE_PROBABILITY": "fine", "MASK_PROBABILITY": "probability"}


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self.array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self.array


class Response:
    def __init__(self, output_tensors: list[Tensor] | None = None, error: object = None) -> None:
        self.tensors = {tensor.name(): tensor.array for tensor in output_tensors or []}
        self.error = error


class Request(dict):
    """A request's arrays by name; by default all outputs are asked for."""

    asked: tuple[str, ...] = ()

    def requested_output_names(self) -> list[str]:
        return list(self.asked)


class TritonError:
    INVALID_ARG, INTERNAL, UNAVAILABLE = 3, 4, 5

    def __init__(self, message: str, code: int) -> None:
        self.message, self.code = message, code


OURS = ("lung_nodule", "served_view", "step_errors")
"""What a step imports from its folder."""


def pb_utils() -> ModuleType:
    """What the steps use of Triton's module."""
    module = ModuleType("triton_python_backend_utils")
    module.Tensor, module.InferenceResponse, module.TritonError = Tensor, Response, TritonError
    module.TritonModelException = RuntimeError
    module.get_input_tensor_by_name = lambda request, name: Tensor(name, request[name]) if name in request else None
    module.Logger = SimpleNamespace(log_error=lambda message: None)
    return module


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A step's process: this library is not imported yet, and what the step imports is forgotten afterwards."""
    ours = [name for name in sys.modules if name.split(".")[0] in OURS]
    kept = {name: sys.modules.pop(name) for name in ours}
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", pb_utils())
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    sys.modules.update(kept)


def started(folder: Path, inputs: list[str], outputs: list[str], parameters: dict | None = None) -> object:
    """The step in a folder, initialized with a config of these tensors."""
    model, names = module_from(folder / "model.py").TritonPythonModel(), {"input": inputs, "output": outputs}
    config = {role: [{"name": name} for name in tensors] for role, tensors in names.items()}
    strings = {key: {"string_value": value} for key, value in (parameters or {}).items()}
    model.initialize({"model_config": json.dumps({**config, "parameters": strings})})
    return model


def side_file(name: str, read_out: bool) -> dict:
    """A method's side file, with flips and a read-out that doubles the network's logit and adds a measurement."""
    if not read_out:
        return SIDE_FILES[name]
    measured = READ_OUT[name]
    outputs = {"malignancy": {"weights": {"logit": 2.0, measured: 0.1}, "intercept": -0.5}}
    mean, deviation = {"logit": 0.0, measured: 1.0}, {"logit": 1.0, measured: 2.0}
    return {**SIDE_FILES[name], "flips": True, "readout": {"mean": mean, "deviation": deviation, "outputs": outputs}}


def written(folder: Path, name: str, step: str, read_out: bool = False) -> Path:
    method, settings = METHODS[name], {**side_file(name, read_out), "patients_seen": ["LIDC-IDRI-0001"]}
    (folder / step).mkdir(parents=True)
    write_step(folder / step, step, Filling({}, {}, method.view, settings, method.make_channels))
    assert "LIDC-IDRI" not in (folder / step / "view.json").read_text()
    return folder / step


def lung() -> np.ndarray:
    rng = np.random.default_rng(0)
    distance = np.linalg.norm((np.moveaxis(np.indices(SHAPE), 0, -1) - CENTER) * SPACING, axis=-1)
    return np.where(distance < DIAMETER / 2, 30, -850 + rng.normal(0, 40, SHAPE)).astype(np.float32)


def outputs_of(name: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """What nets of a method could give for its images: by tensor, float32."""
    rng, slices = np.random.default_rng(1), images.shape[0]
    if name == "mtnet":
        bright = images.clip(0.01, 0.99).astype(np.float32)
        return {"COARSE": bright, "FINE": bright**1.5, "MALIGNANCY": rng.random((slices, 1), dtype=np.float32)}
    if name == "e2emtl":
        scores = rng.random((slices, 8, 1, 1, 1), dtype=np.float32) * np.ones((1, 1, *images.shape[2:]), np.float32)
        return {"PRED": np.concatenate([images[:, :1], scores], axis=1)}
    return {"PRED": rng.random((slices, 9), dtype=np.float32)}


def expected_of(name: str, images: np.ndarray, read_out: bool) -> tuple[np.ndarray, Prediction]:
    """The view's own images and prediction, without the steps."""
    options = {"make_channels": CubeChannels(**SIDE_FILES[name]["channels"])} if name == "e2emtl" else {}
    view = METHODS[name].view.from_settings(side_file(name, read_out), **options)
    prepared = view.prepare(lung(), np.float32(SPACING), np.float32(CENTER), DIAMETER)
    given = outputs_of(name, images)
    named = view.named(given["PRED"]) if "PRED" in given else {key.lower(): value[:, 0] for key, value in given.items()}
    return prepared.images, view.predict(named, prepared.patch, lung(), DIAMETER)


@pytest.mark.parametrize(("name", "read_out"), [(name, read_out) for name in SIDE_FILES for read_out in (False, True)])
def test_a_voi_goes_through_both_steps_as_through_the_view(
    name: str, read_out: bool, tmp_path: Path, process: None
) -> None:
    given = {"VOI": lung(), **GEOMETRY}
    taken = [key for key in given if key != "DIAMETER" or name == "mtmrnet"]
    before = started(written(tmp_path, name, "preprocess", read_out), taken, ["IMAGE"], {"max_slices": "160"})
    (prepared,) = before.execute([Request(given)])
    assert prepared.error is None
    assert prepared.tensors.get("USED_DIAMETER") == (np.float32([DIAMETER]) if name == "mtmrnet" else None)
    images = prepared.tensors["IMAGE"]
    for module in [key for key in sys.modules if key.split(".")[0] in OURS]:
        del sys.modules[module]  # every step has a process of its own
    request = Request({**outputs_of(name, images), **given})
    request.asked = tuple(OUTPUTS[name])
    after = started(written(tmp_path, name, "postprocess", read_out), list(request), OUTPUTS[name])
    (answered,) = after.execute([request])
    wanted_images, wanted = expected_of(name, images, read_out)
    np.testing.assert_array_equal(images, wanted_images)
    assert list(answered.tensors) == OUTPUTS[name]
    assert answered.tensors["MALIGNANCY_PROBABILITY"] == pytest.approx([wanted.score])
    if "MALIGNANCY_INTERVAL" in answered.tensors:
        interval = wanted.interval or (wanted.score, wanted.score)
        assert (interval[0] < interval[1]) == read_out
        assert answered.tensors["MALIGNANCY_INTERVAL"] == pytest.approx(interval)
    for key, map_name in {
        "COARSE_PROBABILITY": "coarse",
        "FINE_PROBABILITY": "fine",
        "MASK_PROBABILITY": "probability",
    }.items():
        if key in answered.tensors:
            np.testing.assert_array_equal(answered.tensors[key], wanted.on_voi(map_name))
    if "MASK" in answered.tensors:
        assert answered.tensors["MASK"].dtype == np.uint8
        assert 0 < answered.tensors["MASK"].sum() < wanted.mask.size
        np.testing.assert_array_equal(answered.tensors["MASK"], wanted.mask)
    values = {"ATTRIBUTES": list(wanted.attributes.values()), "HIGH_PROBABILITY": list(wanted.attribute_probs.values())}
    values["DIAMETER_MM"] = [DIAMETER]
    if wanted.maps:
        size = size_of(wanted.mask, np.float32(SPACING))
        values["VOLUME_MM3"] = [size.volume_mm3]
        values["DIAMETERS_MM"] = [size.equivalent_diameter_mm, size.axial_diameter_mm, size.axial_short_axis_mm]
    for key in set(values) & set(answered.tensors):
        assert answered.tensors[key] == pytest.approx(values[key])


REFUSED = {
    "no diameter": ("mtmrnet", {"DIAMETER": np.float32([np.nan])}, "a diameter must be in mm, from 1 to 200, got nan"),
    "metres": ("mtmrnet", {"DIAMETER": np.float32([0.012])}, "a diameter must be in mm, from 1 to 200, got 0.012"),
    "NaN": ("mtcnn", {"VOI": np.full(SHAPE, np.nan, np.float32)}, "NaN"),
    "many slices": (
        "mtnet",
        {"SPACING": np.float32([1, 1, 0.1])},
        "24 slices at a z spacing of 0.1 mm, this server takes 9",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_answered_is_refused_with_the_reason(case: str, tmp_path: Path, process: None) -> None:
    name, changes, message = REFUSED[case]
    request = {"VOI": lung(), **GEOMETRY, **changes}
    step = started(written(tmp_path, name, "preprocess"), list(request), ["IMAGE"], {"max_slices": "9"})
    (refused,) = step.execute([Request(request)])
    assert refused.error.code == TritonError.INVALID_ARG
    assert message in refused.error.message


def test_a_step_that_fails_names_the_kind_of_error_and_no_path(tmp_path: Path, process: None) -> None:
    step = started(written(tmp_path, "mtcnn", "preprocess"), ["VOI", "SPACING", "CENTER"], ["IMAGE"])
    step._view = None
    (failed,) = step.execute([Request({"VOI": lung(), **GEOMETRY})])
    assert failed.error.code == TritonError.INTERNAL
    assert failed.error.message == "the step failed (AttributeError): see the server's log"


def test_only_what_is_asked_for_is_computed(tmp_path: Path, process: None) -> None:
    request = Request({"PRED": np.full((1, 9), 0.5, np.float32), "VOI": lung(), **GEOMETRY})
    request.asked = ("MALIGNANCY_INTERVAL",)
    (answered,) = started(
        written(tmp_path, "mtcnn", "postprocess"), list(request), ["MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL"]
    ).execute([request])
    assert list(answered.tensors) == ["MALIGNANCY_INTERVAL"]


def test_a_step_takes_the_copy_beside_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that has imported another copy of this library, a step refuses to load."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", pb_utils())
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = written(tmp_path, "mtcnn", "preprocess")
    try:
        with pytest.raises(RuntimeError, match="is not the copy next to this step"):
            started(folder, ["VOI"], ["IMAGE"])
    finally:
        for name in OURS[1:]:
            sys.modules.pop(name, None)
