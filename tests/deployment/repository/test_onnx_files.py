"""The ONNX files: named tensors, dynamic batch, the same numbers as torch, and no way around that check."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from lung_nodule.deployment.repository.onnx_files import OPSET, check_parity, write_onnx
from lung_nodule.deployment.repository.served import ServedNet, served_nets
from lung_nodule.errors import InputError
from lung_nodule.methods import METHODS, load_network
from lung_nodule.networks import MTNet
from tests.networks import published

NAMES = [part.model for part in METHODS["mtnet"].served]
IMAGE = (1, 64, 64)


def nets_of(network: MTNet) -> dict[str, ServedNet]:
    return served_nets(METHODS["mtnet"], network)


@pytest.fixture(scope="module")
def network(bundle: Path):
    return load_network(bundle / "models" / "model.pt")


@pytest.mark.parametrize("name", NAMES)
def test_tensors_are_named_and_the_batch_is_dynamic(name: str, network, repository: Path) -> None:
    net, model = nets_of(network)[name], onnx.load(repository / name / "1" / "model.onnx")
    assert [tensor.name for tensor in model.graph.input] == list(net.inputs)
    assert [tensor.name for tensor in model.graph.output] == list(net.outputs)
    for tensor in (*model.graph.input, *model.graph.output):
        first, *rest = tensor.type.tensor_type.shape.dim
        assert first.dim_param, f"{tensor.name} has a fixed batch"
        assert all(size.dim_value > 0 for size in rest)
    assert {item.domain: item.version for item in model.opset_import}[""] == OPSET
    assert OPSET in (17, 18)


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_the_exporting_machine_is_left(name: str, repository: Path) -> None:
    data = (repository / name / "1" / "model.onnx").read_bytes()
    assert b"site-packages" not in data
    assert b".py" not in data


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 3, 11])
def test_answers_are_torch_probabilities_for_any_batch(name: str, batch: int, network, repository: Path) -> None:
    part = {"mtnet_coarse": network.coarse, "mtnet_fine": network.fine, "mtnet_classifier": network.classifier}[name]
    generator = torch.Generator().manual_seed(batch)
    tensors = [torch.rand(batch, 1, 64, 64, generator=generator) for _ in nets_of(network)[name].inputs]
    with torch.inference_mode():
        expected = part(*tensors).sigmoid().numpy()
    session = onnxruntime.InferenceSession(repository / name / "1" / "model.onnx")
    feeds = dict(zip(nets_of(network)[name].inputs, (t.numpy() for t in tensors), strict=True))
    (found,) = session.run(None, feeds)
    assert found.shape == expected.shape
    assert expected.std() > 0 or batch == 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_file_with_other_weights_is_refused(network, repository: Path, tmp_path: Path) -> None:
    model = onnx.load(repository / "mtnet_classifier" / "1" / "model.onnx")
    weight = max(model.graph.initializer, key=lambda item: np.prod(item.dims))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.5, weight.name))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="differs from torch"):
        check_parity(nets_of(network)["mtnet_classifier"].eval(), tmp_path / "model.onnx", image_shape=IMAGE)


def test_an_answer_that_is_no_number_is_refused(network, repository: Path) -> None:
    broken = copy.deepcopy(nets_of(network)["mtnet_classifier"]).eval()
    next(broken.parameters()).data.fill_(float("nan"))
    with pytest.raises(InputError, match="differs from torch by inf"):
        check_parity(broken, repository / "mtnet_classifier" / "1" / "model.onnx", image_shape=IMAGE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mtnet_fine", "mtnet_classifier"])
def test_the_ablation_without_the_coarse_mask_fits_the_same_ensemble(name: str, settings: dict, tmp_path: Path) -> None:
    """The input COARSE stays and is ignored: the ensemble, which weighs slices by it, needs no other template."""
    torch.manual_seed(0)
    net = nets_of(published.opened(MTNet(**settings["network"], coarse_mask=False)))[name].eval()
    write_onnx(net, tmp_path / "model.onnx", image_shape=IMAGE)
    check_parity(net, tmp_path / "model.onnx", image_shape=IMAGE)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [tensor.name for tensor in session.get_inputs()] == ["IMAGE", "COARSE"]
    image = np.random.default_rng(0).random((2, 1, 64, 64), dtype=np.float32)
    answers = [session.run(None, {"IMAGE": image, "COARSE": np.full_like(image, p)})[0] for p in (0, 1)]
    np.testing.assert_array_equal(*answers)
