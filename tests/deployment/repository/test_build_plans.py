"""TensorRT plans, built with TensorRT for RTX, which parses and builds without a GPU (it cannot run a plan here)."""

from __future__ import annotations

import ast
import ctypes
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lung_nodule.deployment.repository import build_plans, export
from lung_nodule.deployment.repository.build_plans import (
    Arrays,
    PlanError,
    build_plan,
    check_plan,
    check_plans,
    run_plan,
)
from lung_nodule.deployment.repository.engines import profile_of
from lung_nodule.deployment.repository.export import export_bundle
from lung_nodule.deployment.repository.model_repository import read_config
from lung_nodule.deployment.repository.net_canary import answers, canary_images, prepare_plan
from lung_nodule.deployment.repository.precision import cast_file
from lung_nodule.methods import METHODS

rtx = pytest.importorskip("tensorrt_rtx", reason="the wheel of TensorRT for RTX is not installed")
CAPABILITY = "8.6"
IMAGES = {"mtmrnet_net": [1, 64, 64], "mtcnn_net": [9, 32, 32], "e2emtl_net": [3, 32, 32, 32]}
NETS = sorted(part.model for method in METHODS.values() for part in method.served)


def prepared(source: Path, target: Path, precision: str = "fp32") -> Path:
    """A net's folder as the export lays it down for TensorRT."""
    shutil.copytree(source, target)
    config = read_config(target / "config.pbtxt")
    images = canary_images(tuple(tensor.name for tensor in config.input), tuple(config.input[0].dims))
    expected = answers(target / "1" / "model.onnx", images)
    cast_file(target / "1" / "model.onnx", precision)
    prepare_plan(target, images, expected, precision=precision)
    return target


def in_place_of_a_gpu(folder: Path, precision: str = "fp32") -> Callable[[bytes, Arrays, ModuleType], Arrays]:
    """The answers of the ONNX file, which a plan of it would give."""
    return lambda _, images, __: answers(folder / "1" / "model.onnx", images, engine="tensorrt", precision=precision)


@pytest.fixture(scope="module")
def planned(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net with its plan."""
    folder = prepared(repository / "mtnet_classifier", tmp_path_factory.mktemp("plans") / "mtnet_classifier")
    build_plan(folder, api=rtx, capability=CAPABILITY, run=in_place_of_a_gpu(folder))
    return folder


@pytest.mark.parametrize("name", NETS)
def test_nvidias_parser_and_builder_take_every_net(name: str, all_repository: Path, tmp_path: Path) -> None:
    folder = prepared(all_repository / name, tmp_path / name)
    build_plan(folder, api=rtx, capability=CAPABILITY, run=in_place_of_a_gpu(folder))
    assert (folder / "1" / "model.plan").stat().st_size > 100_000
    record = json.loads((folder / "1" / "model.plan.json").read_text())
    image, largest = IMAGES.get(name, [1, 64, 64]), read_config(folder / "config.pbtxt").max_batch_size
    assert record["shapes"]["IMAGE"] == [[batch, *image] for batch in (1, largest // 4, largest)]
    assert (record["version"], record["precision"], record["tf32"]) == (rtx.__version__, "fp32", False)
    check_plan(folder, api=rtx, capability=CAPABILITY)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("name", NETS)
def test_nvidias_parser_and_builder_take_half_precision(
    name: str, precision: str, all_repository: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copyfile(all_repository / name / "1" / "model.onnx", tmp_path / "model.onnx"))
    cast_file(path, precision)
    profile = profile_of(read_config(all_repository / name / "config.pbtxt"))
    plan = build_plans.serialize_plan(path.read_bytes(), profile, api=rtx, tf32=False, name=name)
    assert len(plan) > 50_000


def test_a_plan_that_answers_something_else_is_not_written(repository: Path, tmp_path: Path) -> None:
    folder = prepared(repository / "mtnet_classifier", tmp_path / "mtnet_classifier")
    right = in_place_of_a_gpu(folder)

    def shifted(plan: bytes, images: Arrays, api: ModuleType) -> Arrays:
        return {name: value + np.float32(1e-3) for name, value in right(plan, images, api).items()}

    with pytest.raises(PlanError, match=r"^mtnet_classifier: the plan's scores differ .* 1\.0e-03 \(at most 1e-04\)"):
        build_plan(folder, api=rtx, capability=CAPABILITY, run=shifted)
    assert [path.name for path in (folder / "1").iterdir()] == ["model.onnx"]
    build_plan(folder, api=rtx, capability=CAPABILITY, tf32=True, run=shifted)
    record = json.loads((folder / "1" / "model.plan.json").read_text())
    assert (record["tf32"], record["tolerance"]["score"]) == (True, 5e-3)


def test_the_difference_counts_scores_and_masks() -> None:
    mask = np.zeros((1, 2, 4, 4), dtype=np.float32)
    mask[0, 0, :2], mask[0, 1] = 0.9, 0.4
    other = mask.copy()
    other[0, 0, 1, 2:], other[0, 1] = 0.1, 0.43
    found = build_plans.compare({"PRED": other, "P": np.array([[0.5]])}, {"PRED": mask, "P": np.array([[0.51]])})
    assert found.dice == pytest.approx(2 * 6 / (8 + 6))
    assert found.largest == pytest.approx(0.8)
    assert found.score == pytest.approx(0.8 * 2 / 16)
    assert build_plans.compare({"P": np.array([[np.nan]])}, {"P": np.array([[0.5]])}).score == np.inf
    assert build_plans.TOLERANCES["bf16"].refuses(build_plans.Difference(float("nan"), 1.0, 0.0))


def test_a_plan_of_another_gpu_or_model_is_refused(planned: Path, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"compute_capability 8\.6 \(here 9\.0\)"):
        check_plan(planned, api=rtx, capability="9.0")
    folder = Path(shutil.copytree(planned, tmp_path / "net"))
    shutil.copyfile(repository / "mtnet_fine" / "1" / "model.onnx", folder / "1" / "model.onnx")
    with pytest.raises(PlanError, match="onnx_sha256"):
        check_plan(folder, api=rtx, capability=CAPABILITY)
    with pytest.raises(PlanError, match=r"model\.onnx has changed since the export"):
        build_plan(folder, api=rtx, capability=CAPABILITY)
    (folder / "1" / "model.plan").unlink()
    with pytest.raises(PlanError, match=r"model\.plan is missing"):
        check_plan(folder, api=rtx, capability=CAPABILITY)


def test_a_file_that_is_no_onnx_gives_the_parsers_reason() -> None:
    with pytest.raises(PlanError, match=r"net: TensorRT's parser refuses the ONNX file: ."):
        build_plans.serialize_plan(b"not a model", {}, api=rtx, tf32=False, name="net")


def test_a_plan_that_cannot_be_loaded_is_named() -> None:
    with pytest.raises(PlanError, match="does not load the plan"):
        run_plan(b"not a plan", {}, rtx)


class HostMemory:
    """CUDA's runtime library with this machine's memory for the GPU's."""

    def __init__(self) -> None:
        self.held: dict[int, ctypes.Array] = {}

    def cudaMalloc(self, address, size) -> int:
        buffer = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(buffer)
        self.held[address._obj.value] = buffer
        return 0

    def cudaMemcpy(self, target, source, size, _) -> int:
        ctypes.memmove(target, source, size.value)
        return 0

    def cudaFree(self, address) -> int:
        del self.held[address.value]
        return 0

    def cudaDeviceSynchronize(self) -> int:
        return 0


def test_a_plan_is_run_on_the_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls, in an order that TensorRT's documentation asks for; a doubling in place of an engine."""
    memory, bound, shapes = HostMemory(), {}, {}

    def execute(_: int) -> bool:
        count = int(np.prod(shapes["IMAGE"]))
        views = {name: np.ctypeslib.as_array((ctypes.c_float * count).from_address(bound[name])) for name in bound}
        views["PRED"][:] = 2 * views["IMAGE"]
        return True

    context = SimpleNamespace(
        set_input_shape=shapes.__setitem__,
        set_tensor_address=bound.__setitem__,
        get_tensor_address=bound.__getitem__,
        get_tensor_shape=lambda _: shapes["IMAGE"],
        execute_async_v3=execute,
    )
    engine = SimpleNamespace(
        create_execution_context=lambda: context, num_io_tensors=2, get_tensor_name=["IMAGE", "PRED"].__getitem__
    )
    api = SimpleNamespace(
        ILogger=rtx.ILogger, Runtime=lambda _: SimpleNamespace(deserialize_cuda_engine=lambda _: engine)
    )
    monkeypatch.setattr(build_plans.ctypes, "CDLL", lambda _: memory)
    image = np.random.default_rng(0).random((3, 1, 4, 4), dtype=np.float32)
    found = run_plan(b"plan", {"IMAGE": image}, api)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(found["PRED"], 2 * image)
    assert memory.held == {}, "all freed"


def test_an_error_of_cuda_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = HostMemory()
    memory.cudaMalloc = lambda *_: 2
    memory.cudaGetErrorString = lambda _: b"out of memory"
    monkeypatch.setattr(build_plans.ctypes, "CDLL", lambda _: memory)
    with (
        pytest.raises(PlanError, match="cudaMalloc failed: out of memory"),
        build_plans._Cuda().copied_to_gpu(np.zeros(3)),
    ):
        raise AssertionError("no memory was given")


@pytest.mark.slow
def test_the_export_prepares_what_a_container_needs(
    bundle: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reuse(net: object, path: Path, **_: object) -> None:
        shutil.copyfile(repository / path.parents[1].name / "1" / "model.onnx", path)

    monkeypatch.setattr(export, "write_onnx", reuse)  # the same files, ten seconds earlier
    checkpoint = bundle / "models" / "model.pt"
    exported = export_bundle(
        bundle, tmp_path / "exported", checkpoint=checkpoint, engine="tensorrt", precision="fp16"
    )  # fmt: skip
    names = ("mtnet_classifier", "mtnet_coarse", "mtnet_fine")
    record = json.loads((exported / "export_mtnet.json").read_text())
    for name in names:
        config = read_config(exported / name / "configs" / "tensorrt.pbtxt")
        assert list(config.input[0].dims) == [1, 64, 64]
        assert (exported / name / "canary.npz").stat().st_size < 2_000_000
        measured = record["nets"][name]
        assert (measured["engine"], measured["precision"]) == ("tensorrt", "fp16")
        assert 0 < measured["from_fp32"]["score"] <= measured["allowed_from_fp32"]["score"]
    command = [sys.executable, "-I", str(exported / "build_plans.py"), "--trtexec"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr.count("--stronglyTyped --noTF32 --minShapes=IMAGE:1x1x64x64") == 3
    monkeypatch.setattr(build_plans, "load_tensorrt", lambda: rtx)
    monkeypatch.setattr(build_plans, "compute_capability", lambda: CAPABILITY)
    folders = iter(names)
    run = lambda *call: in_place_of_a_gpu(exported / next(folders), "fp16")(*call)  # noqa: E731
    monkeypatch.setattr(build_plans, "run_plan", run)
    assert build_plans.build_plans(exported) == 3
    assert check_plans(exported) == 3
    for name in names:
        config = read_config(exported / name / "configs" / "tensorrt.pbtxt")
        assert (exported / name / "1" / config.default_model_filename).is_file()


class FakeRuntime:
    """CUDA's runtime with a current device of compute capability 9.0, or an error."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.asked: list[int] = []
        self.cudaGetErrorString = lambda _: b"no CUDA-capable device is detected"

    def cudaGetDevice(self, device: Any) -> int:
        device._obj.value = 3
        return self.status

    def cudaDeviceGetAttribute(self, value: Any, attribute: Any, device: Any) -> int:
        self.asked.append(device.value)
        value._obj.value = {75: 9, 76: 0}[attribute.value]
        return self.status


def test_the_gpu_is_the_one_that_cuda_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime()
    monkeypatch.setattr(build_plans.ctypes, "CDLL", lambda _: runtime)
    assert build_plans.compute_capability() == "9.0"
    assert runtime.asked == [3, 3]
    runtime.status = 100
    monkeypatch.setattr(build_plans.ctypes, "c_char_p", object)
    with pytest.raises(PlanError, match="no NVIDIA GPU answers"):
        build_plans.compute_capability()


def test_the_script_needs_numpy_alone() -> None:
    tree = ast.parse(Path(build_plans.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"numpy"}


def test_without_tensorrt_or_gpu_one_line_says_so(
    planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(PlanError, match="TensorRT is not installed"):
        build_plans.build_plans(planned.parent)
    monkeypatch.setattr(build_plans, "_CUDART", ("libcudart.missing",))
    with pytest.raises(PlanError, match=r"no NVIDIA GPU answers \(CUDA's runtime library is missing"):
        build_plans.compute_capability()
    with pytest.raises(PlanError, match="holds no net for TensorRT: export with --engine tensorrt"):
        build_plans.build_plans(tmp_path)
