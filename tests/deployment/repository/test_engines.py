"""The model configs of each engine, and ONNX files in half precision."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lung_nodule.deployment.repository.build_plans import TOLERANCES, compare
from lung_nodule.deployment.repository.engines import ENGINES, model_configs, profile_of
from lung_nodule.deployment.repository.model_repository import TEMPLATES, read_config, write_config
from lung_nodule.deployment.repository.net_canary import answers, canary_images, check_difference, check_range
from lung_nodule.deployment.repository.precision import BF16_OPSET, cast_file
from lung_nodule.errors import InputError
from lung_nodule.methods import METHODS

NETS = sorted(part.model for method in METHODS.values() for part in method.served)
HALF = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
LARGEST = {"fp16": 0.02, "bf16": 0.2}
"""Of these random networks, whose heads were scaled up; trained ones are ten times nearer."""
DIGEST = "0123456789abcdef" * 4
OPENVINO = ("openvino", "fp32")
CHOICES = [(engine, precision) for engine, taken in ENGINES.items() for precision in taken]


@pytest.mark.parametrize(("engine", "precision"), CHOICES)
@pytest.mark.parametrize("name", NETS)
def test_the_configs_differ_in_their_engine_alone(name: str, engine: str, precision: str, tmp_path: Path) -> None:
    template = read_config(TEMPLATES / name / "config.pbtxt")
    for place, config in model_configs(template, engine, precision, digest=DIGEST).items():
        write_config(tmp_path / place, config)
        written = read_config(tmp_path / place)
        assert written == config, "Triton's own grammar takes it"
        assert (written.parameters["engine"].string_value, written.parameters["precision"].string_value) == (
            engine,
            precision,
        )
        for parameter in ("engine", "precision", "INFERENCE_PRECISION_HINT", "cudnn_conv_algo_search"):
            written.parameters.pop(parameter, None)
        for field in ("platform", "backend", "default_model_filename", "optimization"):
            written.ClearField(field)
        expected = type(template)()
        expected.CopyFrom(template)
        expected.ClearField("platform")
        expected.ClearField("default_model_filename")
        assert written == expected


def test_each_engine_is_named_as_triton_knows_it() -> None:
    template = read_config(TEMPLATES / "mtnet_fine" / "config.pbtxt")
    runs = {choice: model_configs(template, *choice, digest=DIGEST) for choice in CHOICES}
    by_itself = {choice: configs["config.pbtxt"] for choice, configs in runs.items()}
    assert {choice: config.platform or config.backend for choice, config in by_itself.items()} == {
        ("onnxruntime", "fp32"): "onnxruntime_onnx",
        ("onnxruntime", "fp16"): "onnxruntime_onnx",
        ("openvino", "fp32"): "openvino",
        ("openvino", "bf16"): "openvino",
        ("tensorrt", "fp32"): "onnxruntime_onnx",
        ("tensorrt", "fp16"): "onnxruntime_onnx",
        ("tensorrt", "bf16"): "tensorrt_plan",
    }
    hints = {
        precision: by_itself["openvino", precision].parameters["INFERENCE_PRECISION_HINT"].string_value
        for precision in ENGINES["openvino"]
    }
    assert hints == {"fp32": "f32", "bf16": "bf16"}
    plan = runs["tensorrt", "fp16"]["configs/tensorrt.pbtxt"]
    assert (plan.platform, plan.default_model_filename) == ("tensorrt_plan", "model.plan")
    (accelerator,) = (
        runs["onnxruntime", "fp16"]["configs/ort_tensorrt.pbtxt"]
        .optimization.execution_accelerators.gpu_execution_accelerator
    )  # fmt: skip
    assert (accelerator.name, accelerator.parameters["precision_mode"]) == ("tensorrt", "FP16")
    assert accelerator.parameters["trt_engine_cache_enable"] == "1"
    assert accelerator.parameters["trt_engine_cache_path"] == f"/tmp/onnxruntime_tensorrt_{DIGEST[:16]}"
    searches = {
        (choice, place): config.parameters["cudnn_conv_algo_search"].string_value
        for choice, configs in runs.items()
        for place, config in configs.items()
        if "cudnn_conv_algo_search" in config.parameters
    }
    assert {choice for choice, _ in searches} == {choice for choice in CHOICES if choice[1] != "bf16"} - {OPENVINO}
    assert set(searches.values()) == {"1"}, "HEURISTIC"
    assert accelerator.parameters["trt_profile_max_shapes"] == "IMAGE:640x1x224x224,COARSE:640x1x224x224"


@pytest.fixture(params=NETS)
def net_folder(request: pytest.FixtureRequest, all_repository: Path) -> Path:
    return all_repository / request.param


@pytest.mark.parametrize("precision", HALF)
def test_a_cast_file_has_half_the_weight_and_the_same_answers(net_folder: Path, precision: str, tmp_path: Path) -> None:
    original, path = net_folder / "1" / "model.onnx", tmp_path / "model.onnx"
    shutil.copyfile(original, path)
    config = read_config(net_folder / "config.pbtxt")
    images = canary_images(tuple(profile_of(config)), tuple(config.input[0].dims))
    expected = answers(path, images)
    cast_file(path, precision)
    model = onnx.load(path)
    assert {tensor.type.tensor_type.elem_type for tensor in (*model.graph.input, *model.graph.output)} == {
        TensorProto.FLOAT
    }
    weights = {
        kind: sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer if tensor.data_type == kind)
        for kind in (TensorProto.FLOAT, HALF[precision])
    }
    transposed = sum(node.op_type == "ConvTranspose" for node in model.graph.node)
    assert weights[HALF[precision]] > 100 * weights[TensorProto.FLOAT] or (precision == "bf16" and transposed)
    assert model.opset_import[0].version == (BF16_OPSET if precision == "bf16" else 18)
    engine = "openvino" if precision == "bf16" else "onnxruntime"
    difference = compare(answers(path, images, engine=engine, precision=precision), expected)
    assert 0 < difference.score < LARGEST[precision], "the file computes in another precision"
    assert difference.dice > 0.99


def test_answers_beyond_the_tolerance_are_refused(all_repository: Path, tmp_path: Path) -> None:
    """The fixture's end-to-end network, whose heads were scaled up, in bfloat16."""
    path = Path(shutil.copyfile(all_repository / "e2emtl_net" / "1" / "model.onnx", tmp_path / "model.onnx"))
    images = canary_images(("IMAGE",), (3, 32, 32, 32))
    expected = answers(path, images)
    check_difference(path, images, expected, engine="openvino", precision="fp32", name="net")
    cast_file(path, "bf16")
    with pytest.raises(InputError, match=r"^net: in bf16 scores differ from float32 by .*--precision fp32"):
        check_difference(path, images, expected, engine="openvino", precision="bf16", name="net")


def test_values_beyond_float16_are_refused(tmp_path: Path) -> None:
    """Intermediate values beyond float16's range."""
    factors = [
        numpy_helper.from_array(np.array([value], dtype=np.float32), name)
        for name, value in {"up": 6e4, "down": 1 / 6e4, "eight": 8.0, "eighth": 1 / 8}.items()
    ]
    tensors = ["IMAGE", "a", "b", "c", "PRED"]
    nodes = [
        helper.make_node("Mul", [before, factor.name], [after])
        for before, after, factor in zip(tensors, tensors[1:], [factors[i] for i in (0, 2, 1, 3)], strict=False)
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1])] for name in ("IMAGE", "PRED")
    )
    graph = helper.make_graph(nodes, "scaled", inputs, outputs, factors)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    images = {"IMAGE": np.array([[0.9], [0.2]], dtype=np.float32)}
    with pytest.raises(InputError, match=r"^scaled: a value of 4\.3e\+05 within the net is beyond float16 \(65504\)"):
        check_range(path, images, name="scaled")
    assert check_range(path, {"IMAGE": images["IMAGE"] / 10}, name="scaled") == pytest.approx(43200)


def test_without_openvino_one_line_says_so(all_repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"OpenVINO is not installed: pip install openvino==\d"):
        answers(all_repository / "mtcnn_net" / "1" / "model.onnx", {}, engine="openvino")


def test_the_tolerances_grow_as_the_precision_falls() -> None:
    scores, dices = zip(*(TOLERANCES[name] for name in ("fp32", "fp16", "bf16")), strict=True)
    assert list(scores) == sorted(scores)
    assert list(dices) == sorted(dices, reverse=True)
