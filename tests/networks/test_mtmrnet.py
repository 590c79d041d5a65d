"""MTMR-Net: torchvision's trunk, the wiring of its branches, and its view for inference."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import resnet50

from lung_nodule.errors import NetworkOptionError
from lung_nodule.networks import MTMRNet


@pytest.fixture
def small() -> MTMRNet:
    torch.manual_seed(0)
    return MTMRNet(width=0.125).eval()


def torchvision_resnet50() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's resnet50 without its classifier, written down from its definition."""
    shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    channels = 64
    for layer, (blocks, planes) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            shapes |= {f"{name}.conv1.weight": (planes, channels, 1, 1), **norm(f"{name}.bn1", planes)}
            shapes |= {f"{name}.conv2.weight": (planes, planes, 3, 3), **norm(f"{name}.bn2", planes)}
            shapes |= {f"{name}.conv3.weight": (4 * planes, planes, 1, 1), **norm(f"{name}.bn3", 4 * planes)}
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * planes, channels, 1, 1)
                shapes |= norm(f"{name}.downsample.1", 4 * planes)
            channels = 4 * planes
    return shapes


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    keys = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{key}": (channels,) for key in keys}, f"{name}.num_batches_tracked": ()}


def test_the_trunk_is_torchvisions_resnet50() -> None:
    with torch.device("meta"):
        trunk = MTMRNet().trunk
    assert {name: tuple(value.shape) for name, value in trunk.state_dict().items()} == torchvision_resnet50()
    assert sum(p.numel() for p in trunk.parameters()) == 23_508_032


def test_the_strides_are_torchvisions() -> None:
    """224 -> 112 -> 56 -> 28 -> 14 -> 7, the 3x3 convolution carrying each block's stride."""
    trunk, sizes = MTMRNet(width=0.125).trunk.eval(), []
    x = torch.rand(1, 3, 224, 224)
    for layer in (trunk.conv1, trunk.maxpool, trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
        x = layer(x)
        sizes.append(x.shape[-1])
    assert sizes == [112, 56, 56, 28, 14, 7]
    assert [getattr(trunk, f"layer{i}")[0].conv2.stride for i in (2, 3, 4)] == [(2, 2)] * 3
    assert [getattr(trunk, f"layer{i}")[0].conv1.stride for i in (2, 3, 4)] == [(1, 1)] * 3


def test_monais_default_is_another_network_under_the_same_names(small: MTMRNet) -> None:
    """The same weights load and give something else: the stride of the first convolution must be said."""
    default = resnet50(
        spatial_dims=2, n_input_channels=3, feed_forward=False, bias_downsample=False, widen_factor=0.125
    ).eval()  # fmt: skip
    default.load_state_dict(small.trunk.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert (default(image) - small.trunk(image)).abs().max() > 1e-3


@pytest.mark.parametrize(("options", "heads", "classifier"), [
    ({}, 256, 2304), ({"bidirectional": True}, 512, 2304), ({"regression": False}, None, 2048),
])  # fmt: skip
def test_published_branches(options: dict, heads: int | None, classifier: int) -> None:
    with torch.device("meta"):
        network = MTMRNet(**options)
    assert network.classifier[1].weight.shape == (2, classifier)
    assert (network.attribute_heads.weight.shape if heads else network.attribute_heads) == (
        (8, heads) if heads else None
    )


def test_outputs(small: MTMRNet) -> None:
    scores = small(torch.rand(3, 1, 64, 64))
    assert scores["logits"].shape == (3, 2)
    assert scores["attributes"].shape == (3, 8)
    torch.testing.assert_close(scores["malignancy"], torch.sigmoid(scores["logits"][:, 1] - scores["logits"][:, 0]))
    assert 0 <= scores["attributes"].min() <= scores["attributes"].max() <= 1


def gradient_of(network: MTMRNet, output: str) -> set[str]:
    """The branches that an output's gradient reaches."""
    network.zero_grad()
    network(torch.rand(2, 1, 64, 64))[output].sum().backward()
    return {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def test_the_classifier_sees_the_attribute_features_and_not_the_other_way_round(small: MTMRNet) -> None:
    assert "attribute_features.weight" in gradient_of(small, "logits")
    assert "classifier.1.weight" not in gradient_of(small, "attributes")


def test_bidirectional_heads_see_the_malignancy_features() -> None:
    torch.manual_seed(0)
    reached = gradient_of(MTMRNet(width=0.125, bidirectional=True).eval(), "attributes")
    assert {"malignancy_features.weight", "attribute_features.weight"} <= reached


def test_one_tensor_for_inference(small: MTMRNet) -> None:
    image = torch.rand(3, 1, 64, 64)
    scores, pred = small(image), small.predict(image)
    torch.testing.assert_close(pred, torch.cat([scores["malignancy"][:, None], scores["attributes"]], dim=1))
    assert MTMRNet(width=0.125, regression=False).eval().predict(image).shape == (3, 1)


def test_bad_options_are_named() -> None:
    with pytest.raises(NetworkOptionError, match="needs the attribute branch"):
        MTMRNet(width=0.125, regression=False, bidirectional=True)
    with pytest.raises(NetworkOptionError, match="at least 1/64"):
        MTMRNet(width=0.01)
