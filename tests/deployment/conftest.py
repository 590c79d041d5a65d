"""One small MT-Net, exported once, and one real Triton server for all tests of the deployment."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lung_nodule.deployment.export import export_bundle
from lung_nodule.deployment.server import TritonServer
from lung_nodule.io import Volume
from lung_nodule.networks import MTNet

SETTINGS = {
    "bundle": "mtnet",
    "version": "0.0.1",
    "network": {"width": 0.125, "middle_blocks": 1},
    "field": {"field_mm": 48.0, "z_field_mm": 40.0, "image_size": 64},
    "window": [-1000.0, 400.0],
}


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """The server computes on the same cores: torch's waiting threads would slow both down tenfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def settings() -> dict:
    """The side file of the test's checkpoint; its field is not the templates'."""
    return SETTINGS


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder with a random MT-Net whose answers spread over 0..1 instead of lying at one half."""
    torch.manual_seed(3)
    network = MTNet(**SETTINGS["network"]).eval()
    _spread_answers(network)
    models = tmp_path_factory.mktemp("bundle") / "mtnet" / "models"
    models.mkdir(parents=True)
    torch.save(network.state_dict(), models / "model.pt")
    (models / "model.json").write_text(json.dumps(SETTINGS))
    return models.parent


def _spread_answers(network: MTNet) -> None:
    """Scale the heads so that the logits of blob-like images have mean 0 and deviation 2."""
    rows, columns = np.mgrid[:64, :64] / 63 - 0.5
    radii = np.linspace(0.05, 0.4, 12)[:, None, None]
    blobs = np.where(np.hypot(rows, columns) < radii, 0.8, 0.1) + 0.1 * np.random.default_rng(0).random((12, 64, 64))
    image = torch.from_numpy(blobs.astype(np.float32))[:, None]
    heads = (network.coarse.decoder.head, network.fine.decoder.head, network.classifier.head)
    with torch.no_grad():
        for name, head in zip(("coarse", "fine", "malignancy"), heads, strict=True):
            logits = network(image)[name]
            scale = 2 / logits.std()
            head.bias.copy_((head.bias - logits.mean()) * scale)
            head.weight.mul_(scale)


@pytest.fixture(scope="session")
def repository(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported model repository."""
    return export_bundle(
        bundle, tmp_path_factory.mktemp("served") / "repository", checkpoint=bundle / "models" / "model.pt"
    )


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    """A running server that holds the repository."""
    with TritonServer(repository) as running:
        yield running


def _ball_ct(shape: tuple[int, int, int], affine: np.ndarray, center_ras: np.ndarray, radius_mm: float) -> Volume:
    world = Volume(np.zeros(shape, dtype=np.int16), affine).to_world(np.moveaxis(np.indices(shape), 0, -1))
    distance = np.linalg.norm(world - center_ras, axis=-1)
    noise = np.random.default_rng(0).normal(0, 20, shape)
    return Volume(np.where(distance < radius_mm, 40, -850 + noise).astype(np.int16), affine)


@pytest.fixture(scope="session")
def ball_ct():
    """Maker of a CT (HU, int16) of lung with one ball of soft tissue at a world position."""
    return _ball_ct
