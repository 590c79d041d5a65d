"""The end-to-end multi-task network: what is shared, what sees what, which cubes fit."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet

from lung_nodule.errors import NetworkOptionError
from lung_nodule.networks import E2EMTL


@pytest.fixture(scope="module")
def network() -> E2EMTL:
    torch.manual_seed(0)
    return E2EMTL(width=0.25).eval()


@pytest.fixture(scope="module")
def cubes() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, 32, generator=torch.Generator().manual_seed(1))


def test_shapes(network: E2EMTL, cubes: torch.Tensor) -> None:
    out = network(cubes)
    assert {name: tuple(logits.shape) for name, logits in out.items()} == {
        "segmentation": (2, 1, 32, 32, 32),
        "attributes": (2, 7),
        "malignancy": (2, 1),
    }


def test_the_segmentation_is_the_basic_unets(network: E2EMTL, cubes: torch.Tensor) -> None:
    """Taking MONAI's network apart changes nothing."""
    torch.testing.assert_close(network(cubes)["segmentation"], network.unet(cubes))
    whole = BasicUNet(spatial_dims=3, in_channels=3, out_channels=1, features=(32, 32, 64, 128, 256, 32))
    assert sum(p.numel() for p in E2EMTL().unet.parameters()) == sum(p.numel() for p in whole.parameters())


@pytest.mark.parametrize("task", ["segmentation", "malignancy", "attributes"])
def test_every_task_trains_the_shared_path_and_the_segmentation_branch(cubes: torch.Tensor, task: str) -> None:
    """The class sees the segmentation prediction, and its gradient goes through it."""
    network = E2EMTL(width=0.25)
    network(cubes)[task].square().sum().backward()
    assert network.unet.down_4.convs.conv_0.conv.weight.grad.abs().sum() > 0
    assert network.unet.upcat_1.convs.conv_1.conv.weight.grad.abs().sum() > 0


def test_the_class_hears_how_large_the_predicted_mask_is(network: E2EMTL) -> None:
    """With the shared map the same, the segmentation alone moves attributes and malignancy."""
    deepest = torch.rand(1, 64, 2, 2, 2)
    small, large = torch.zeros(1, 1, 32, 32, 32), torch.ones(1, 1, 32, 32, 32)
    outputs = [network.classifier(deepest, mask) for mask in (small, large)]
    for name in ("attributes", "malignancy"):
        assert not torch.allclose(outputs[0][name], outputs[1][name])


def test_the_class_hears_the_amplitude_of_the_shared_map(network: E2EMTL) -> None:
    """What instance normalization before an average would lose."""
    deepest, mask = torch.rand(1, 64, 2, 2, 2), torch.zeros(1, 1, 32, 32, 32)
    one, three = (network.classifier(factor * deepest, mask)["malignancy"] for factor in (1, 3))
    assert not torch.allclose(one, three, atol=1e-3)


def test_malignancy_reads_the_attributes(cubes: torch.Tensor) -> None:
    """Interpretable: with the features silenced, malignancy still moves with the attribute logits."""
    network = E2EMTL(width=0.25).eval()
    hidden = network.classifier.features[0].out_features
    with torch.no_grad():
        network.classifier.malignancy.weight[:, :hidden] = 0
        before = network(cubes)["malignancy"].clone()
        network.classifier.attributes.bias += 5
        assert (network(cubes)["malignancy"] - before).abs().min() > 1e-4


def test_single_task_has_no_classification_branch(network: E2EMTL) -> None:
    single = E2EMTL(width=0.25, in_channels=1, multi_task=False).eval()
    assert not [name for name in single.state_dict() if name.startswith("classifier")]
    cube = torch.rand(1, 1, 32, 32, 32)
    assert set(single(cube)) == {"segmentation"}
    assert single.predict(cube).shape == (1, 1, 32, 32, 32)


def test_maps_are_probabilities_in_their_channels(network: E2EMTL, cubes: torch.Tensor) -> None:
    maps, logits = network.predict(cubes), network(cubes)
    assert maps.shape == (2, 9, 32, 32, 32)
    torch.testing.assert_close(maps[:, :1], torch.sigmoid(logits["segmentation"]))
    torch.testing.assert_close(maps[:, 1, 0, 0, 0], torch.sigmoid(logits["malignancy"])[:, 0])
    torch.testing.assert_close(maps[:, 2:, 3, 9, 31], torch.sigmoid(logits["attributes"]))
    assert (maps[:, 1:].amax(dim=(2, 3, 4)) == maps[:, 1:].amin(dim=(2, 3, 4))).all()


@pytest.mark.slow
def test_bfloat16_gradients_are_float32s_at_the_smallest_cube(cubes: torch.Tensor) -> None:
    """Where the deepest map is 2 x 2 x 2, whatever lay in the memory before."""
    torch.manual_seed(0)
    network = E2EMTL(width=0.25, norm="batch")

    def gradients(*, enabled: bool) -> torch.Tensor:
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = network(cubes)
        sum(logits.float().square().mean() for logits in out.values()).backward()
        convolutions = [network.unet.down_4.convs.conv_0.conv, network.unet.down_4.convs.conv_1.conv]
        return torch.cat([layer.weight.grad.flatten() for layer in convolutions])

    exact, first = gradients(enabled=False), gradients(enabled=True)
    assert (first - exact).norm() < 0.5 * exact.norm()
    for size in range(5_000, 50_000, 5_000):
        torch.full((size,), 1e30)  # remains in freed memory
        assert (gradients(enabled=True) - first).norm() < 0.01 * first.norm()


@pytest.mark.parametrize("edge", [16, 40])
def test_a_cube_that_does_not_fit_is_refused_in_one_line(network: E2EMTL, edge: int) -> None:
    with pytest.raises(
        NetworkOptionError, match=rf"^a cube of {edge}x{edge}x{edge} voxels does not fit: .*32, 48 or 64"
    ):
        network(torch.zeros(1, 3, edge, edge, edge))
