"""MT-CNN's networks: published sizes, shapes, independence of the views, and what stopping does."""

from __future__ import annotations

import pytest
import torch

from lung_nodule.errors import NetworkOptionError
from lung_nodule.networks import MTCNN, RunningViews, ViewNet

SMALL = {"width": 0.125, "image_size": 32}


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_sizes() -> None:
    """26,064 + 594,226 + 26,001 = 646,291 parameters a view, nine of them."""
    net = ViewNet()
    assert [parameters(part) for part in (net.share, net.classify, net.reconstruct)] == [26_064, 594_226, 26_001]
    assert parameters(MTCNN()) == 9 * 646_291


def test_the_decoder_mirrors_the_encoder() -> None:
    """64 -> 60, 30 -> 28, 14 -> 12, 6 and back."""
    net, x, sizes = ViewNet(), torch.rand(1, 1, 64, 64), []
    for layer in (*net.share, *net.reconstruct):
        x = layer(x)
        if not isinstance(layer, torch.nn.ReLU):
            sizes.append(x.shape[-1])
    assert sizes == [60, 30, 28, 14, 12, 6, 12, 14, 28, 30, 60, 64]


@pytest.mark.parametrize(("layers", "features"), [(1, 24 * 30**2), (2, 32 * 14**2), (3, 2304), (4, 64 * 2**2)])
def test_one_to_four_convolutions(layers: int, features: int) -> None:
    """The ablation of the paper's Fig. 6; five do not fit."""
    net = ViewNet(conv_layers=layers)
    logits, pixels = net(torch.rand(2, 1, 64, 64))
    assert net.classify[1].in_features == features
    assert logits.shape == (2, 2)
    assert pixels.shape == (2, 1, 64, 64)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in net.share) == layers
    with pytest.raises(NetworkOptionError, match="must be 1, 2, 3 or 4"):
        ViewNet(conv_layers=5)


@pytest.mark.parametrize(("layers", "size"), [(3, 30), (3, 60), (3, 16), (4, 56), (4, 32)])
def test_sizes_that_cannot_be_mirrored_are_refused(layers: int, size: int) -> None:
    with pytest.raises(NetworkOptionError, match=f"views of {size} pixels .* multiple of {2**layers} and at least"):
        ViewNet(conv_layers=layers, image_size=size)


def test_kaiming_start_without_biases() -> None:
    torch.manual_seed(0)
    net = ViewNet()
    assert all(not p.any() for name, p in net.named_parameters() if name.endswith("bias"))
    for layer, fan in ((net.share[3], 24 * 9), (net.classify[1], 2304), (net.reconstruct[1], 64 * 9)):
        assert layer.weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.05)


def test_outputs() -> None:
    network, image = MTCNN(**SMALL).eval(), torch.rand(3, 9, 32, 32)
    output, scores = network(image), network.predict(image)
    assert output["logits"].shape == (3, 9, 2)
    assert output["reconstruction"].shape == image.shape
    torch.testing.assert_close(scores, torch.softmax(output["logits"], dim=2)[..., 1])


def test_a_view_sees_its_own_plane_alone() -> None:
    network, image = MTCNN(**SMALL).eval(), torch.rand(2, 9, 32, 32)
    other = image.clone()
    other[:, 4] = torch.rand(2, 32, 32)
    changed = (network.predict(image) - network.predict(other)).abs().amax(dim=0) > 0
    assert changed.tolist() == [False] * 4 + [True] + [False] * 4


def test_running_views_leave_the_stopped_ones_out() -> None:
    network, image = MTCNN(**SMALL).eval(), torch.rand(2, 9, 32, 32)
    whole = network(image)
    for view in (0, 5):
        network.stop(view)
    assert network.running == [1, 2, 3, 4, 6, 7, 8]
    output = RunningViews(network)(image)
    torch.testing.assert_close(output["logits"], whole["logits"][:, network.running])
    torch.testing.assert_close(output["reconstruction"], whole["reconstruction"][:, network.running])
    torch.testing.assert_close(output["image"], image[:, network.running])
    assert "reconstruction" not in RunningViews(network, reconstruct=False)(image)
