"""The TensorRT export, run with TensorRT for RTX, which parses and builds without a GPU (it cannot run a plan here)."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from lung_nodule.deployment import export, tensorrt_engine
from lung_nodule.deployment.export import export_bundle
from lung_nodule.deployment.model_repository import read_config
from lung_nodule.deployment.tensorrt_engine import build_plan, check_plan, check_plans
from lung_nodule.errors import InputError

rtx = pytest.importorskip("tensorrt_rtx", reason="the wheel of TensorRT for RTX is not installed")
CAPABILITY = "8.6"


@pytest.fixture(scope="module")
def plans(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plans of the three nets, as the export lays them down."""
    folder = tmp_path_factory.mktemp("plans")
    for name in ("mtnet_coarse", "mtnet_fine", "mtnet_classifier"):
        target = folder / name / "1"
        target.mkdir(parents=True)
        (target / "model.onnx").write_bytes((repository / name / "1" / "model.onnx").read_bytes())
        max_batch = read_config(repository / name / "config.pbtxt").max_batch_size
        plan = target / "model.plan"
        build_plan(target / "model.onnx", plan, max_batch=max_batch, api=rtx, capability=CAPABILITY)
    return folder


@pytest.mark.parametrize("name", ["mtnet_coarse", "mtnet_fine", "mtnet_classifier"])
def test_nvidias_parser_and_builder_take_every_net(plans: Path, name: str) -> None:
    plan = plans / name / "1" / "model.plan"
    assert plan.stat().st_size > 100_000
    side_file = json.loads((plan.parent / "model.plan.json").read_text())
    assert side_file["shapes"]["IMAGE"] == [[1, 1, 64, 64], [160, 1, 64, 64], [640, 1, 64, 64]]
    assert side_file["version"] == rtx.__version__
    check_plan(plan, plan.with_name("model.onnx"), api=rtx, capability=CAPABILITY)


@pytest.mark.parametrize(
    ("name", "image"), [("mtmrnet", [1, 64, 64]), ("mtcnn", [9, 32, 32]), ("e2emtl", [3, 32, 32, 32])]
)
def test_nvidias_parser_and_builder_take_the_bundles_of_one_net(
    name: str, image: list[int], all_repository: Path, tmp_path: Path
) -> None:
    onnx_file, plan = all_repository / f"{name}_net" / "1" / "model.onnx", tmp_path / "model.plan"
    largest = read_config(all_repository / f"{name}_net" / "config.pbtxt").max_batch_size
    build_plan(onnx_file, plan, max_batch=largest, api=rtx, capability=CAPABILITY)
    assert plan.stat().st_size > 100_000
    side_file = json.loads(plan.with_name("model.plan.json").read_text())
    assert side_file["shapes"] == {"IMAGE": [[batch, *image] for batch in (1, largest // 4, largest)]}
    check_plan(plan, onnx_file, api=rtx, capability=CAPABILITY)


def test_a_plan_of_another_gpu_or_model_is_refused(plans: Path, tmp_path: Path) -> None:
    plan = plans / "mtnet_classifier" / "1" / "model.plan"
    with pytest.raises(InputError, match=r"compute_capability 8\.6 \(here 9\.0\)"):
        check_plan(plan, plan.with_name("model.onnx"), api=rtx, capability="9.0")
    with pytest.raises(InputError, match="onnx_sha256"):
        check_plan(plan, plans / "mtnet_fine" / "1" / "model.onnx", api=rtx, capability=CAPABILITY)
    with pytest.raises(InputError, match=r"other\.plan is missing"):
        check_plan(tmp_path / "other.plan", plan.with_name("model.onnx"), api=rtx, capability=CAPABILITY)


def test_a_file_that_is_no_onnx_gives_the_parsers_reason(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(InputError, match=r"model\.onnx: TensorRT's parser refuses it: ."):
        build_plan(tmp_path / "model.onnx", tmp_path / "model.plan", max_batch=4, api=rtx, capability=CAPABILITY)
    assert not (tmp_path / "model.plan").exists()


def test_the_export_lays_down_plans_and_their_configs(
    bundle: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reuse(net: object, path: Path, **_: object) -> None:
        shutil.copyfile(repository / path.parents[1].name / "1" / "model.onnx", path)

    monkeypatch.setattr(export, "write_onnx", reuse)  # the same files, ten seconds earlier
    monkeypatch.setattr(tensorrt_engine, "load_tensorrt", lambda: rtx)
    monkeypatch.setattr(tensorrt_engine, "compute_capability", lambda: CAPABILITY)
    exported = export_bundle(
        bundle, tmp_path / "exported", checkpoint=bundle / "models" / "model.pt", engine="tensorrt"
    )
    assert check_plans(exported) == 3
    for name in ("mtnet_coarse", "mtnet_fine", "mtnet_classifier"):
        config = read_config(exported / name / "configs" / "tensorrt.pbtxt")
        assert list(config.input[0].dims) == [1, 64, 64]
        assert (exported / name / "1" / config.default_model_filename).is_file()


def test_without_tensorrt_or_gpu_one_line_says_so(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(InputError, match="TensorRT is not installed"):
        export_bundle(bundle, tmp_path / "out", checkpoint=bundle / "models" / "model.pt", engine="tensorrt")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no NVIDIA GPU answers"):
        tensorrt_engine.compute_capability()
    assert not (tmp_path / "out").exists()
