"""The map lights up where the known weight looks, on the volume's own grid, and disturbs nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.networks.nets import resnet50
from monai.visualize import GradCAM
from PIL import Image
from torch import nn

from lung_nodule.core import SlicePatch
from lung_nodule.errors import InputError
from lung_nodule.evaluation import SaveActivationMaps
from lung_nodule.evaluation.activation_maps import activation_maps
from lung_nodule.io import read_nifti
from lung_nodule.networks import GuidedByCoarse, MTNet, OneOutput
from tests.networks import published

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # the analytic layer is the first


class Known(nn.Module):
    """Two features, the brightness and the darkness of 4x4 cells, and logits whose weights are given."""

    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 2, 4, stride=4)
        self.head = nn.Linear(2, len(weights))
        with torch.no_grad():
            self.features.weight[0], self.features.weight[1] = 1 / 16, -1 / 16
            self.features.bias.copy_(torch.tensor([0.0, 1.0]))
            self.head.weight.copy_(torch.tensor(weights))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(image).mean(dim=(2, 3)))


def squares(slices: int = 3, size: int = 16) -> torch.Tensor:
    """Slice s has one bright square of brightness (s + 1) / slices in its own corner."""
    image = torch.zeros(slices, 1, size, size)
    for z in range(slices):
        row, column = 4 * (z % 2), 4 * (z // 2)
        image[z, 0, row : row + 4, column : column + 4] = (z + 1) / slices
    return image


def maps_of(weights: list[list[float]], image: torch.Tensor, class_idx: int = 0) -> np.ndarray:
    return activation_maps(GradCAM(Known(weights).eval(), "features"), image, class_idx=class_idx)


def test_the_map_is_where_the_weight_looks() -> None:
    """One scale for all slices: the brightest square is 1, the others their share; elsewhere nothing."""
    maps = maps_of([[1.0, 0.0]], squares())
    assert maps.shape == (3, 16, 16)
    for z, (row, column) in enumerate([(0, 0), (4, 0), (0, 4)]):
        assert maps[z].max() == pytest.approx((z + 1) / 3, abs=0.05)
        assert maps[z, row + 1 : row + 3, column + 1 : column + 3].min() > 0.7 * (z + 1) / 3
        assert maps[z, 12:, 12:].max() == 0


def test_it_is_the_classifiers_own_sum_of_features() -> None:
    """For a mean over the slice and a linear head, Grad-CAM is the weighted sum of the features, cut at 0."""
    image = torch.rand(11, 1, 16, 16)  # more slices than are taken at once
    maps = maps_of([[0.7, -0.4]], image)
    features = Known([[0.0, 0.0]]).features(image).detach()
    expected = torch.relu(0.7 * features[:, :1] - 0.4 * features[:, 1:])
    expected = nn.functional.interpolate(expected, size=(16, 16), mode="bilinear")[:, 0].numpy()
    np.testing.assert_allclose(maps, expected / expected.max(), atol=1e-5)


def test_evidence_against_is_zero_and_each_logit_has_its_own_map() -> None:
    image = squares()
    assert not maps_of([[-1.0, 0.0]], image).any()
    two = [[0.0, 1.0], [1.0, 0.0]]
    np.testing.assert_allclose(maps_of(two, image, class_idx=1), maps_of([[1.0, 0.0]], image), atol=1e-6)
    assert maps_of(two, image, class_idx=0)[0, 12:, 12:].min() > 0.99


def nodule(image: torch.Tensor, segmentation: np.ndarray | None) -> SimpleNamespace:
    """The state of an engine after one nodule of three slices, voxels twice as large as the patch's pixels."""
    patch = SlicePatch(shape=(10, 12, 5), spacing=(2, 2, 3), center=(5, 6, 2), patch_mm=16, image_size=16, z_patch_mm=6)
    batch = {
        "nodule_id": "n1",
        "image": image.permute(1, 2, 3, 0)[None],
        "patch": patch,
        "affine": np.diag([2, 2, 3, 1]),
    }
    return SimpleNamespace(batch=batch, output={"malignancy_prob": torch.tensor([0.75]), "segmentation": segmentation})


@pytest.mark.parametrize("bright", [True, False], ids=["something", "nothing"])
def test_files_on_the_vois_grid(bright: bool, tmp_path: Path) -> None:
    """The volume's maximum is where the bright square lies in the VOI; the picture opens; an empty map is no error."""
    image = torch.zeros(3, 1, 16, 16)
    image[2, 0, 4:8, 8:12] = float(bright)
    handler = SaveActivationMaps(network=Known([[1.0, 0.0]]), target_layers="features", output_dir=tmp_path)
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    segmentation = np.zeros((3, 16, 16), dtype=bool)
    segmentation[1, 5:11, 5:11] = bright
    engine.state = nodule(image, segmentation)
    handler.save(engine)
    volume = read_nifti(tmp_path / "n1_activation.nii.gz").data
    assert volume.shape == (10, 12, 5)
    assert (volume.min(), volume.max()) == (0, pytest.approx(1, abs=0.1) if bright else 0)
    if bright:
        place = np.unravel_index(volume.argmax(), volume.shape)  # pixels 4-7 and 8-11, slice 2 of 1-3
        assert place == (4, 7, 3)
    with Image.open(tmp_path / "n1_activation.png") as picture:
        assert picture.size == (1440, 780)
        assert np.asarray(picture.convert("L")).std() > 10


def test_a_network_downstream_of_another_is_mapped_and_left_as_it_was(tmp_path: Path) -> None:
    """Class-net downstream of Coarse Seg-net: not in training mode afterwards, no gradients left, the same answers."""
    torch.manual_seed(0)
    network = published.opened(MTNet(width=0.125, middle_blocks=1))
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        before = network(image)["malignancy"]
    guided = GuidedByCoarse(network.coarse, network.classifier)
    assert guided.training
    handler = SaveActivationMaps(network=guided, target_layers="network.exit", output_dir=tmp_path)
    handler.attach(Engine(lambda engine, batch: None))
    with torch.no_grad():  # as a handler of an evaluator may run
        maps = activation_maps(handler.cam, image)
        torch.testing.assert_close(network(image)["malignancy"], before)
    assert maps.shape == (2, 64, 64)
    assert not any(module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    features = network.classifier.exit(network.classifier.middle(network.classifier.entry(network.classifier.stem(
        torch.cat([image.expand(-1, 3, -1, -1), torch.sigmoid(network.coarse(image))], dim=1)
    ))))  # fmt: skip
    own = torch.relu((features * network.classifier.head.weight[0][:, None, None]).sum(dim=1, keepdim=True))
    own = nn.functional.interpolate(own, size=(64, 64), mode="bilinear")[:, 0].detach().numpy()
    np.testing.assert_allclose(maps, own / own.max() if own.max() else own, atol=1e-4)


class TrunkAndHeads(nn.Module):
    """A ResNet-50 before a head of two classes and another of attributes, as multi-task classifiers are."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet50(
            spatial_dims=2, n_input_channels=3, feed_forward=False, widen_factor=0.125, conv1_t_stride=2,
            bias_downsample=False,
        )  # fmt: skip
        self.classifier, self.attributes = nn.Linear(256, 2), nn.Linear(256, 8)

    def outputs(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        pooled = self.trunk(image.expand(-1, 3, -1, -1))
        return {"logits": self.classifier(pooled), "attributes": self.attributes(pooled)}


def test_one_logit_of_a_network_with_several_outputs(tmp_path: Path) -> None:
    """The malignant logit at a ResNet's last block; the map is that of its own linear head."""
    torch.manual_seed(0)
    network = TrunkAndHeads().eval()
    image = torch.rand(2, 1, 64, 64)
    handler = SaveActivationMaps(
        network=OneOutput(network, key="logits"), target_layers="network.trunk.layer4", output_dir=tmp_path, class_idx=1
    )
    handler.attach(Engine(lambda engine, batch: None))
    trunk, features = network.trunk, []
    hook = trunk.layer4.register_forward_hook(lambda *called: features.append(called[2].detach().clone()))
    maps = activation_maps(handler.cam, image, class_idx=1)
    hook.remove()
    own = torch.relu((features[0] * network.classifier.weight[1][:, None, None]).sum(dim=1, keepdim=True)).detach()
    own = nn.functional.interpolate(own, size=(64, 64), mode="bilinear")[:, 0].numpy()
    assert own.max() > 0
    np.testing.assert_allclose(maps, own / own.max(), atol=1e-4)


def test_an_unknown_layer_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="no layer 'exit' for activation maps; its top-level modules are features, head"
    ):
        SaveActivationMaps(network=Known([[1.0, 0.0]]), target_layers="exit", output_dir=tmp_path)
