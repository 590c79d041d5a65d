"""MT-Net's networks: sizes, shapes, wiring, and the files that hold them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lung_nodule.errors import CheckpointError
from lung_nodule.methods import load_network
from lung_nodule.networks import ClassNet, GuidedByCoarse, MTNet, read_settings
from lung_nodule.networks.blocks import XceptionBlock
from lung_nodule.networks.classnet import PlainBlock
from tests.networks import published

SETTINGS = {
    "bundle": "mtnet",
    "network": {"width": 0.125, "middle_blocks": 1},
    "patch": {"patch_mm": 32.0, "z_patch_mm": 32.0, "image_size": 64},
    "window": [-1000.0, 400.0],
}


@pytest.fixture(scope="module")
def small() -> MTNet:
    torch.manual_seed(0)
    return published.opened(MTNet(width=0.125, middle_blocks=1))


def parameters(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_published_sizes() -> None:
    """54.71 M, 54.78 M and 20.81 M parameters within 0.5 %."""
    with torch.device("meta"):
        network = MTNet()
    sizes = {name: parameters(getattr(network, name)) for name in ("coarse", "fine", "classifier")}
    assert sizes == pytest.approx({"coarse": 54.71, "fine": 54.78, "classifier": 20.81}, rel=0.005)


def test_shapes_at_every_stride(small: MTNet) -> None:
    low, deep = small.coarse.encoder(torch.rand(2, 3, 224, 224))
    assert low.shape == (2, 32, 56, 56)
    assert deep.shape == (2, 256, 14, 14)


def test_class_net_keeps_the_published_resolutions(small: MTNet) -> None:
    """224 -> 111 -> 109 -> 55 -> 28 -> 14 -> 14."""
    net, sizes = small.classifier, []
    x = torch.rand(1, 4, 224, 224)
    for layer in (*net.stem, *net.entry, net.middle, net.exit):
        x = layer(x)
        sizes.append(x.shape[-1])
    assert sizes == [111, 109, 55, 28, 14, 14, 14]


def test_outputs(small: MTNet) -> None:
    logits = small(torch.rand(3, 1, 64, 64))
    assert logits["coarse"].shape == logits["fine"].shape == (3, 1, 64, 64)
    assert logits["malignancy"].shape == (3, 1)


def test_the_classifiers_logits_are_float32_under_autocast(small: MTNet) -> None:
    """BCEWithLogitsLoss computes in the precision of the logits."""
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert small.classifier(image, image).dtype == torch.float32


def test_the_coarse_mask_reaches_both_guided_networks(small: MTNet) -> None:
    image = torch.rand(2, 1, 64, 64)
    empty, full = torch.zeros_like(image), torch.ones_like(image)
    for network in (small.fine, small.classifier):
        assert (network(image, empty) - network(image, full)).abs().max() > 1e-6


def test_fourth_channel_starts_as_the_mean_of_three() -> None:
    kernel = ClassNet(width=0.125, middle_blocks=1).stem[0].conv.weight
    torch.testing.assert_close(kernel[:, 3], kernel[:, :3].mean(dim=1))


@pytest.mark.parametrize("training", [False, True])
def test_every_residual_block_starts_as_its_residual_path(training: bool) -> None:
    torch.manual_seed(0)
    network = MTNet(width=0.125, middle_blocks=2).train(training)
    blocks = [module for module in network.modules() if isinstance(module, XceptionBlock | PlainBlock)]
    assert len(blocks) == 2 * (3 + 2 + 1) + 3 + 1 + 1
    for block in blocks:
        channels = next(module for module in block.modules() if isinstance(module, torch.nn.Conv2d)).in_channels
        x = torch.randn(2, channels, 16, 16)
        torch.testing.assert_close(block(x), block.residual(x), rtol=0, atol=0)
    x = torch.randn(2, 8, 16, 16)
    assert not torch.equal(published.opened(blocks[0])(x), blocks[0].residual(x))


def test_maps_are_the_networks_probabilities(small: MTNet) -> None:
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        logits, maps = small(image), small.predict(image)
        partial = small.predict(image, ["coarse", "malignancy"])
    torch.testing.assert_close(maps[:, :1], torch.sigmoid(logits["coarse"]))
    torch.testing.assert_close(maps[:, 1:2], torch.sigmoid(logits["fine"]))
    torch.testing.assert_close(maps[:, 2].amax(dim=(1, 2)), torch.sigmoid(logits["malignancy"][:, 0]))
    torch.testing.assert_close(maps[:, 2].amin(dim=(1, 2)), torch.sigmoid(logits["malignancy"][:, 0]))
    torch.testing.assert_close(partial, maps[:, [0, 2]])


@pytest.mark.parametrize("guided", ["fine", "classifier"])
def test_training_downstream_of_a_frozen_coarse_network_leaves_it_as_it_was(guided: str) -> None:
    network = MTNet(width=0.125, middle_blocks=1)
    before = {key: value.clone() for key, value in network.coarse.state_dict().items()}
    stage = GuidedByCoarse(network.coarse, getattr(network, guided)).train()
    optimizer = torch.optim.Adam(getattr(network, guided).parameters())
    stage(torch.rand(2, 1, 64, 64)).mean().backward()
    optimizer.step()
    assert all(p.grad is None for p in network.coarse.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in getattr(network, guided).parameters())
    for key, value in network.coarse.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.fixture(scope="module")
def unguided() -> MTNet:
    torch.manual_seed(0)
    return published.opened(MTNet(width=0.125, middle_blocks=1, coarse_mask=False))


def test_without_the_coarse_mask_nothing_depends_on_it(unguided: MTNet) -> None:
    """The ablations of Tables 4 and 5: whatever Coarse Seg-net says, the other two answer the same."""
    image = torch.rand(2, 1, 64, 64)
    empty, full = torch.zeros_like(image), torch.ones_like(image)
    with torch.no_grad():
        for network in (unguided.fine, unguided.classifier):
            torch.testing.assert_close(network(image, empty), network(image, full), rtol=0, atol=0)
            torch.testing.assert_close(network(image), network(image, full), rtol=0, atol=0)


@pytest.mark.slow
def test_without_the_coarse_mask_its_parameters_are_gone() -> None:
    """The fine layer (257 x 256 kernels and a batch norm) and the fourth channel's 32 kernels of 3 x 3."""
    with torch.device("meta"):
        whole, ablated = MTNet(), MTNet(coarse_mask=False)
    assert parameters(whole.fine) - parameters(ablated.fine) == pytest.approx((257 * 256 + 2 * 256) / 1e6, abs=1e-9)
    assert parameters(whole.classifier) - parameters(ablated.classifier) == pytest.approx(32 * 9 / 1e6, abs=1e-9)
    assert parameters(ablated.fine) == parameters(ablated.coarse) == parameters(whole.coarse)


@pytest.mark.parametrize("guided", ["fine", "classifier"])
def test_without_the_coarse_mask_none_is_computed(unguided: MTNet, guided: str) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("Coarse Seg-net was run")

    image = torch.rand(1, 1, 64, 64)
    expected = unguided(image)[{"fine": "fine", "classifier": "malignancy"}[guided]]
    hook = unguided.coarse.register_forward_pre_hook(asked)
    try:
        got = GuidedByCoarse(unguided.coarse, getattr(unguided, guided)).eval()(image)
    finally:
        hook.remove()
    torch.testing.assert_close(got, expected)


def write(folder: Path, network: MTNet, settings: dict) -> Path:
    torch.save(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps(settings))
    return folder / "model.pt"


def test_a_checkpoint_brings_its_own_width(small: MTNet, tmp_path: Path) -> None:
    loaded = load_network(write(tmp_path, small, SETTINGS))
    image = torch.rand(1, 1, 64, 64)
    assert not loaded.training
    torch.testing.assert_close(loaded(image)["fine"], small(image)["fine"])


def test_checkpoints_that_cannot_be_used_are_named(small: MTNet, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights at"):
        load_network(tmp_path / "model.pt")
    path = write(tmp_path, small, {**SETTINGS, "network": {"width": 0.25, "middle_blocks": 1}})
    with pytest.raises(CheckpointError, match=r"does not hold the weights of mtnet with .'width': 0.25"):
        load_network(path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(CheckpointError, match="does not describe a network"):
        read_settings(path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(CheckpointError, match="side file"):
        read_settings(path)


def test_a_checkpoint_brings_its_ablation(unguided: MTNet, small: MTNet, tmp_path: Path) -> None:
    settings = {**SETTINGS, "network": {**SETTINGS["network"], "coarse_mask": False}}
    loaded = load_network(write(tmp_path, unguided, settings))
    assert not loaded.fine.coarse_mask
    assert not loaded.classifier.coarse_mask
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        load_network(write(tmp_path, small, settings))
