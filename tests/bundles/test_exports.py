"""``python -m monai.bundle ckpt_export`` and ``onnx_export`` write what the shipped network computes."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export

from lung_nodule.networks import (
    E2EMTLPredictor,
    MTCNNPredictor,
    MTMRNetPredictor,
    MTNetPredictor,
)
from tests.forked import run_python
from tests.networks import published

ROOT = Path(__file__).parents[2]
NETWORKS: dict[str, tuple[type[torch.nn.Module], dict[str, Any], tuple[int, ...]]] = {
    "mtnet": (MTNetPredictor, {"width": 0.125, "middle_blocks": 1}, (1, 32, 32)),
    "mtmrnet": (MTMRNetPredictor, {"width": 0.125, "bidirectional": True}, (1, 32, 32)),
    "mtcnn": (MTCNNPredictor, {"width": 0.125, "image_size": 32}, (9, 32, 32)),
    "e2emtl": (E2EMTLPredictor, {"width": 0.125}, (3, 32, 32, 32)),
}
ABLATIONS = {
    "mtnet": {"coarse_mask": False},
    "mtmrnet": {"regression": False, "bidirectional": False},
    "mtcnn": {"conv_layers": 2},
    "e2emtl": {"multi_task": False, "norm": "batch"},
}
ONNX = {
    "input_names": ["image"], "output_names": ["pred"], "opset_version": 18, "verify": True, "use_ort": True,
    "dynamic_axes": {"image": {0: "batch"}, "pred": {0: "batch"}}, "rtol": 1e-3, "atol": 1e-4,
}  # fmt: skip
"""The ``--converter_kwargs`` that the cards name."""


def shipped(bundle: str, folder: Path, **changes: Any) -> tuple[Path, torch.nn.Module]:
    """A copy of a bundle with a small model that answers, and the network."""
    copy = shutil.copytree(ROOT / "bundles" / bundle, folder / bundle, ignore=shutil.ignore_patterns("models"))
    network_type, options, _ = NETWORKS[bundle]
    options = {**options, **changes}
    torch.manual_seed(2)
    network = network_type(**options)
    network = (published.opened(network) if bundle == "mtnet" else network).eval()
    (copy / "models").mkdir()
    torch.save(network.state_dict(), copy / "models" / "model.pt")
    side = {"bundle": bundle, "network": options, "patch": {}, "window": []}
    (copy / "models" / "model.json").write_text(json.dumps(side))
    return copy, network


def images(bundle: str, count: int) -> torch.Tensor:
    return torch.rand((count, *NETWORKS[bundle][2]), generator=torch.Generator().manual_seed(count))


def check_torchscript(path: Path, network: torch.nn.Module, bundle: str) -> None:
    """Equal for batches of one and of three."""
    scripted = torch.jit.load(str(path))
    for count in (1, 3):
        image = images(bundle, count)
        with torch.no_grad():
            expected = network(image)
            torch.testing.assert_close(scripted(image), expected, rtol=0, atol=1e-6)


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A bundle with its ``model.ts``, by scripting, MONAI's default, with nothing but the folders named."""
    return export(*shipped(request.param, tmp_path_factory.mktemp("exported")))


def export(copy: Path, network: torch.nn.Module) -> tuple[Path, torch.nn.Module]:
    ckpt_export(config_file=str(copy / "configs" / "inference.json"), bundle_root=str(copy))
    return copy, network


@pytest.mark.slow
def test_ckpt_export_is_the_network(exported: tuple[Path, torch.nn.Module]) -> None:
    copy, network = exported
    check_torchscript(copy / "models" / "model.ts", network, copy.name)


@pytest.mark.slow
@pytest.mark.parametrize("bundle", NETWORKS)
def test_ckpt_export_is_the_network_of_an_ablation(bundle: str, tmp_path: Path) -> None:
    copy, network = export(*shipped(bundle, tmp_path, **ABLATIONS[bundle]))
    check_torchscript(copy / "models" / "model.ts", network, bundle)


@pytest.mark.slow
@pytest.mark.parametrize("bundle", NETWORKS)
def test_onnx_export_is_the_network_for_any_batch(bundle: str, tmp_path: Path) -> None:
    """With the converter's arguments that the card names; ONNX Runtime answers as torch does."""
    copy, network = shipped(bundle, tmp_path)
    onnx_export(
        net_id="network_def", filepath=str(tmp_path / "model.onnx"), ckpt_file=str(copy / "models" / "model.pt"),
        meta_file=str(copy / "configs" / "metadata.json"), config_file=str(copy / "configs" / "inference.json"),
        use_trace=True, input_shape=[2, *NETWORKS[bundle][2]], converter_kwargs=dict(ONNX), bundle_root=str(copy),
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 2, 5):
        image = images(bundle, count)
        with torch.no_grad():
            expected = network(image).numpy()
        (found,) = session.run(["pred"], {"image": image.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("bundle", NETWORKS)
def test_the_card_names_these_arguments(bundle: str) -> None:
    (written,) = re.findall(
        r'--converter_kwargs "(.+)"', (ROOT / "bundles" / bundle / "docs" / "README.md").read_text()
    )
    assert ast.literal_eval(written) == ONNX


@pytest.mark.slow
def test_the_overlay_runs_a_torchscript_file(exported: tuple[Path, torch.nn.Module]) -> None:
    """``inference_trt.json`` with a frozen script in the engine's place: same answer, and no unknown option.

    Like an engine, it has no submodules for the handlers to take.
    """
    copy, network = exported
    frozen = torch.jit.freeze(torch.jit.load(copy / "models" / "model.ts").eval())
    frozen.save(str(copy / "models" / "model_trt.ts"))
    parser = ConfigParser()
    parser.read_config([str(copy / "configs" / f"{name}.json") for name in ("inference", "inference_trt")])
    parser.update({"bundle_root": str(copy), "device": "cpu"})
    parser.get_parsed_content("initialize")
    loaded, image = parser.get_parsed_content("network"), images(copy.name, 2)
    assert isinstance(loaded, torch.jit.ScriptModule)
    assert not list(loaded.children())
    for index, handler in enumerate(parser.config["handlers"]):
        if "SaveActivationMaps" in handler["_target_"]:
            parser.get_parsed_content(f"handlers#{index}")
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), network(image), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_command_as_the_card_writes_it(tmp_path: Path) -> None:
    """From the repository's root, with weights that lie elsewhere."""
    copy, network = shipped("mtcnn", tmp_path)
    weights, written = copy / "models" / "model.pt", tmp_path / "model.ts"
    command = ["-m", "monai.bundle", "ckpt_export"]
    command += ["--config_file", "bundles/mtcnn/configs/inference.json", "--ckpt_file", str(weights)]
    command += ["--model_path", str(weights), "--meta_file", "bundles/mtcnn/configs/metadata.json"]
    ended = run_python([*command, "--filepath", str(written)], folder=ROOT, environment=os.environ)
    assert ended.returncode == 0, ended.stderr[-3000:]
    check_torchscript(written, network, "mtcnn")
