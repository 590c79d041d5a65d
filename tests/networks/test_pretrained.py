"""Published weights come in by name and shape, compute what they computed, or are refused in one line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from monai.networks.nets import resnet50
from torch import nn

from lung_nodule.errors import CheckpointError
from lung_nodule.networks import AlignedXception65, ClassNet, load_pretrained
from tests.networks import published


def save(path: Path, network: nn.Module | dict, head: str = "fc", wrap: str | None = None) -> Path:
    """A user's file: the state dict, with a head for a thousand classes."""
    state = dict(network.state_dict() if isinstance(network, nn.Module) else network)
    state |= {f"{head}.weight": torch.zeros(1000, 8), f"{head}.bias": torch.zeros(1000)}
    torch.save({wrap: state, "epoch": 7} if wrap else state, path)
    return path


def normalised(image: torch.Tensor) -> torch.Tensor:
    """As the published Xceptions were fed."""
    return (image - 0.5) / 0.5


@pytest.mark.parametrize(
    ("layout", "build"),
    [("timm_xception65", published.timm_xception65), ("deeplab_xception65", published.deeplab_xception65)],
)
def test_aligned_xception_computes_what_the_file_did(layout: str, build, tmp_path: Path) -> None:
    """No tensor is unused or missing; away from the padded border the features are the published ones."""
    torch.manual_seed(0)
    theirs, ours = build(), AlignedXception65(width=0.125).eval()
    matched = load_pretrained(ours, save(tmp_path / "w.pth", theirs, "head.fc"), layout=layout)
    assert not matched.not_loaded
    assert matched.unused == ["head.fc.bias", "head.fc.weight"]
    first = theirs.stem[0] if layout.startswith("timm") else theirs[:3]
    image = torch.rand(2, 3, 64, 64)
    inner = (..., slice(1, -1), slice(1, -1))
    with torch.no_grad():
        torch.testing.assert_close(ours.stem[0](image)[inner], first(normalised(image))[inner], atol=1e-4, rtol=1e-4)
        grey = torch.full_like(image, 0.5)  # the mean: zero after normalisation, so shifts alone are left ...
        stem, deep = ours.stem[0](grey)[inner], first(normalised(grey))[inner]
        torch.testing.assert_close(stem, deep, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("layout", "build"),
    [("timm_xception65", published.timm_xception65), ("deeplab_xception65", published.deeplab_xception65)],
)
def test_every_aligned_block_stands_in_its_place(layout: str, build, tmp_path: Path) -> None:
    """With the first convolution's zero padding the same on both sides (no normalisation), all features are equal."""
    torch.manual_seed(1)
    theirs, ours = build(), AlignedXception65(width=0.125).eval()
    load_pretrained(ours, save(tmp_path / "w.pth", theirs), layout=layout)
    stem = theirs.stem if layout.startswith("timm") else theirs[:6]
    rest = theirs.blocks if layout.startswith("timm") else theirs[6:]
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x = stem(normalised(image))
        expected = rest(x)
        ours.stem = nn.Identity()
        got = ours(x)[1]
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("matrices", [False, True], ids=["kernels", "kernels as matrices"])
def test_class_net_computes_what_xception_did(matrices: bool, tmp_path: Path) -> None:
    """Exactly: its first convolution has no padding. The mask's kernel is the mean of the file's three."""
    torch.manual_seed(2)
    theirs, ours = published.xception(), ClassNet(width=0.125).eval()
    state = theirs.state_dict()
    if matrices:
        state = {k: v.flatten(1) if "pointwise" in k else v for k, v in state.items()}
    matched = load_pretrained(ours, save(tmp_path / "w.pth", state), layout="xception")
    assert matched.not_loaded == ["head.bias", "head.weight"]
    assert matched.unused == ["fc.bias", "fc.weight"]
    torch.testing.assert_close(ours.stem[0].conv.weight[:, 3], theirs.conv1.weight.mean(dim=1))
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        features = theirs(normalised(image.expand(-1, 3, -1, -1))).mean(dim=(2, 3))
        expected = ours.head(features)
        got = ours(image, torch.zeros_like(image))
    assert features.std() > 1e-3
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


def test_class_net_without_the_mask_takes_three_channels(tmp_path: Path) -> None:
    theirs, ours = published.xception(), ClassNet(width=0.125, coarse_mask=False)
    matched = load_pretrained(ours, save(tmp_path / "w.pth", theirs), layout="xception")
    assert matched.not_loaded == ["head.bias", "head.weight"]
    torch.testing.assert_close(ours.stem[0].conv.weight, theirs.conv1.weight / 0.5)


def test_a_shallower_network_takes_what_it_has_room_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "w.pth", published.xception())
    ours = ClassNet(width=0.125, middle_blocks=3)
    with caplog.at_level(logging.INFO, logger="lung_nodule.networks.pretrained"):
        matched = load_pretrained(ours, path, layout="xception")
    assert {name.split(".")[1] for name in matched.unused if name.startswith("middle")} == {"3", "4", "5", "6", "7"}
    assert f"{len(matched.taken)} tensors taken; unused in the file: {len(matched.unused)} (fc.bias" in caplog.text
    assert "not loaded: 2 (head.bias, head.weight)" in caplog.text


def small_resnet(**options: object) -> nn.Module:
    return resnet50(
        spatial_dims=2, n_input_channels=3, widen_factor=0.125, conv1_t_stride=2, bias_downsample=False, **options
    )


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
def test_resnet50_by_torchvisions_names(wrap: str | None, tmp_path: Path) -> None:
    """Wrapped or not, ``module.`` in front or not: the same features away from the padded border."""
    torch.manual_seed(3)
    theirs, ours = published.spread(small_resnet(num_classes=5)), small_resnet(num_classes=1).eval()
    prefix = "" if wrap is None else "module."
    path = save(tmp_path / "w.pth", {prefix + k: v for k, v in theirs.state_dict().items()}, "module.fc", wrap)
    matched = load_pretrained(ours, path, layout="torchvision_resnet50")
    assert matched.not_loaded == ["fc.bias", "fc.weight"]
    image = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = theirs.bn1(theirs.conv1((image - mean[:, None, None]) / std[:, None, None]))
        got = ours.bn1(ours.conv1(image))
    torch.testing.assert_close(got[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.layer4[2].conv3.weight, theirs.layer4[2].conv3.weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no pretrained weights at"),
        (b"half a file", "cannot be read as tensors alone"),
        (published.xception, "cannot be read as tensors alone"),
        (3, "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
        ({"some.other.weight": torch.zeros(3)}, "0 of its 1 tensors match by name"),
        ({"conv1.weight": torch.zeros(32, 3, 3, 3)}, "1 of its 1 tensors match by name, none of them by shape"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(content: object, message: str, tmp_path: Path) -> None:
    """Missing, broken, a whole pickled module, no state dict, another network's, another width's."""
    path, network = tmp_path / "w.pth", ClassNet(width=0.125, middle_blocks=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content() if callable(content) else content, path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_pretrained(network, path, layout="xception")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_an_unknown_layout_is_answered_with_the_known(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="choose one of torchvision_resnet50, timm_xception65"):
        load_pretrained(nn.Linear(1, 1), save(tmp_path / "w.pth", {}), layout="keras")
