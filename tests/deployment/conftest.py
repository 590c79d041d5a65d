"""One small MT-Net, exported once, on one real Triton server, and all four methods in one more repository."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lung_nodule.deployment.findings import Finding
from lung_nodule.deployment.prediction import predict, predict_worklist
from lung_nodule.deployment.repository.export import export_bundle
from lung_nodule.deployment.repository.onnx_files import lung_like
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.io import Voi, Volume
from lung_nodule.methods import METHODS
from lung_nodule.networks import E2EMTL, MTCNN, MTMRNet, MTNet
from tests.deployment.hand_made import HandMadeAnswers
from tests.deployment.report import report_page
from tests.networks import published

SETTINGS = {
    "bundle": "mtnet",
    "version": "0.0.1",
    "network": {"width": 0.125, "middle_blocks": 1},
    "patch": {"patch_mm": 48.0, "z_patch_mm": 40.0, "image_size": 64},
    "window": [-1000.0, 400.0],
    "flips": True,
    "mask_threshold": 0.4,
}

ONE_NET = {
    "mtmrnet": {
        "bundle": "mtmrnet",
        "version": "0.0.2",
        "network": {"width": 0.125, "regression": True, "bidirectional": False},
        "patch": {"crop": "adaptive", "image_size": 64},
        "window": [-1000.0, 400.0],
    },
    "mtcnn": {
        "bundle": "mtcnn",
        "version": "0.0.3",
        "network": {"width": 0.25, "conv_layers": 1, "image_size": 32},
        "patch": {"patch_mm": 40.0, "image_size": 32, "order": 1},
        "window": [-1000.0, 400.0],
        "calibration": {
            "source": "nowhere",
            "edges": [0.0, 0.5, 1.0],
            "nodules": [9, 6],
            "malignant": [2, 5],
            "predicted": [0.2, 0.8],
        },
        "view_weights": [0.04, 0.06, 0.08, 0.1, 0.12, 0.13, 0.14, 0.16, 0.17],
    },
    "e2emtl": {
        "bundle": "e2emtl",
        "version": "0.0.4",
        "network": {"width": 0.25, "in_channels": 3},
        "patch": {"patch_mm": 48.0, "image_size": 32},
        "channels": {"names": ["ct", "otsu", "slic"], "slic_segments": 200, "slic_compactness": 0.2},
        "window": [-1200.0, 600.0],
        "mask_threshold": 0.45,
    },
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The export of every method takes a minute, a plan a quarter of one."""
    for item in items:
        if {"all_repository", "planned"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """The server computes on the same cores: torch's waiting threads would slow both down tenfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def settings() -> dict:
    """The side file of the test's checkpoint; its patch is not the templates'."""
    return SETTINGS


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder with a random MT-Net whose answers spread over 0..1 instead of lying at one half."""
    torch.manual_seed(3)
    network = published.opened(MTNet(**SETTINGS["network"]))
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


def _made_once(name: str, tmp_path_factory: pytest.TempPathFactory, make: Callable[[Path], object]) -> Path:
    """A folder that the first of the test processes makes and the others take; an export costs twenty seconds."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder / "repository")
            (folder / "made").touch()
    return folder / "repository"


@pytest.fixture(scope="session")
def repository(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported model repository."""

    def export(folder: Path) -> None:
        export_bundle(bundle, folder, checkpoint=bundle / "models" / "model.pt")

    return _made_once("served", tmp_path_factory, export)


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    """A running server that holds the repository."""
    with TritonServer(repository) as running:
        yield running


@pytest.fixture(scope="session")
def bare_server(repository: Path) -> Iterator[TritonServer]:
    """A server that a client crashes by cancelling its requests."""
    with TritonServer(repository, guard=False) as running:
        yield running


@pytest.fixture(scope="session")
def one_net_settings() -> dict[str, dict]:
    """The side files of the bundles that serve one net each."""
    return ONE_NET


@pytest.fixture(scope="session")
def one_net_bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the bundles of one net: random weights, once kept in bfloat16 and once with the channels last."""
    root = tmp_path_factory.mktemp("bundles")
    torch.manual_seed(5)
    networks = {
        "mtmrnet": MTMRNet(**ONE_NET["mtmrnet"]["network"]).to(memory_format=torch.channels_last),
        "mtcnn": MTCNN(**ONE_NET["mtcnn"]["network"]),
        "e2emtl": E2EMTL(**ONE_NET["e2emtl"]["network"]),
    }
    for name, network in networks.items():
        shape = METHODS[name].view.from_settings(ONE_NET[name]).image_shape
        _spread_heads(network.eval(), torch.from_numpy(lung_like(np.random.default_rng(0), 12, shape)))
        models = root / name / "models"
        models.mkdir(parents=True)
        weights = network.bfloat16() if name == "mtcnn" else network
        torch.save(weights.state_dict(), models / "model.pt")
        (models / "model.json").write_text(json.dumps(ONE_NET[name]))
    return root


def _heads(network: nn.Module) -> list[nn.Module]:
    """The last layers, each after those that it depends on."""
    if isinstance(network, MTMRNet):
        return [network.attribute_heads, network.classifier[-1]]
    if isinstance(network, MTCNN):
        return [view.classify[-1] for view in network.views]
    return [network.unet.final_conv, network.classifier.attributes, network.classifier.malignancy]


def _spread_heads(network: nn.Module, images: torch.Tensor) -> None:
    """Scale the heads so that every channel's logits have mean 0 and deviation 2 over some images."""
    for head in _heads(network):
        seen: list[torch.Tensor] = []
        handle = head.register_forward_hook(lambda _, __, output, seen=seen: seen.append(output))
        with torch.no_grad():
            network(images)
            handle.remove()
            logits = seen[0].transpose(0, 1).flatten(1)
            scale = 2 / logits.std(dim=1)
            head.bias.copy_((head.bias - logits.mean(dim=1)) * scale)
            head.weight.mul_(scale.reshape(-1, *[1] * (head.weight.dim() - 1)))


@pytest.fixture(scope="session")
def all_repository(repository: Path, one_net_bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model repository with all methods, exported one after the other, and so with the panel."""

    def export(folder: Path) -> None:
        shutil.copytree(repository, folder)
        for name in ONE_NET:
            export_bundle(one_net_bundles / name, folder, checkpoint=one_net_bundles / name / "models" / "model.pt")

    return _made_once("all", tmp_path_factory, export)


@pytest.fixture(scope="session")
def panel_server(all_repository: Path) -> Iterator[TritonServer]:
    """A running server that holds all methods and their panel."""
    with TritonServer(all_repository) as running:
        yield running


def ball_voi(name: str, shape: tuple[int, int, int], spacing: tuple[float, float, float], *, shift: float = 0.0) -> Voi:
    """Lung with a bright ball near the centre; float32 values, as the server gets them."""
    center = (np.array(shape, dtype=np.float32) - 1) / 2 + np.float32(shift)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    distance = np.linalg.norm((grid - center) * spacing, axis=-1)
    noise = np.random.default_rng(len(name)).normal(0, 60, shape)
    data = np.where(distance < 8, 30, -850 + noise).astype(np.float32)
    return Voi(name, Volume(data, np.diag([*spacing, 1.0])), tuple(slice(0, size) for size in shape), center)


def _ball_ct(shape: tuple[int, int, int], affine: np.ndarray, center_ras: np.ndarray, radius_mm: float) -> Volume:
    world = Volume(np.zeros(shape, dtype=np.int16), affine).to_world(np.moveaxis(np.indices(shape), 0, -1))
    distance = np.linalg.norm(world - center_ras, axis=-1)
    noise = np.random.default_rng(0).normal(0, 20, shape)
    return Volume(np.where(distance < radius_mm, 40, -850 + noise).astype(np.int16), affine)


@pytest.fixture(scope="session")
def ball_ct():
    """Maker of a CT (HU, int16) of lung with one ball of soft tissue at a world position."""
    return _ball_ct


@pytest.fixture(scope="session")
def ct() -> Volume:
    """What the report's tests show: a ball in lung."""
    return report_page.ball_in_lung()


@pytest.fixture(scope="session")
def finding(ct: Volume) -> Finding:
    """The ball, found."""
    return report_page.found_in(ct)


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hand-made answers in place of a server's; the ids of the nodules that were asked about."""
    for module in (predict, predict_worklist):
        monkeypatch.setattr(module, "NoduleClient", HandMadeAnswers)
    monkeypatch.setattr(HandMadeAnswers, "asked", [])
    return HandMadeAnswers.asked
