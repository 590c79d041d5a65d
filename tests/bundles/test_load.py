"""``monai.bundle.load`` gives the very weights of ``models/model.pt``: any width, any folder, no dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import nn

from ci.bundle_tools.archive import write_package
from lung_nodule.bundle import DefaultFolder, bundle_root, model_path, reason, repository
from lung_nodule.errors import InputError
from lung_nodule.networks import E2EMTL, MTCNN, MTMRNet, MTNet
from tests.bundles.unzipped import unzipped
from tests.forked import run_python

ROOT = Path(__file__).parents[2]
NETWORKS: dict[str, tuple[type[nn.Module], dict[str, object]]] = {
    "mtnet": (MTNet, {"width": 0.25, "middle_blocks": 2, "coarse_mask": False}),
    "mtmrnet": (MTMRNet, {"width": 0.25, "bidirectional": True}),
    "mtcnn": (MTCNN, {"width": 0.25, "conv_layers": 2}),
    "e2emtl": (E2EMTL, {"width": 0.25, "in_channels": 2, "norm": "batch"}),
}
"""Every option that changes the weights is not the default in one of them."""
PROGRAM = """
import sys, torch
from monai.bundle import load
bundle_dir, name, expected = sys.argv[1:]
weights = torch.load(expected, weights_only=True)
for kind in ("train", "inference"):
    network = load(name, bundle_dir=bundle_dir, workflow_type=kind, source="github", device="cpu")
    state = network.state_dict()
    assert state.keys() == weights.keys(), kind
    assert all(torch.equal(state[key], weights[key]) for key in weights), kind
    print(kind, type(network).__name__)
"""


def ship(models: Path, bundle: str) -> Path:
    """A bundle's ``models/`` with random weights of another size than the published."""
    torch.manual_seed(1)
    network_type, options = NETWORKS[bundle]
    network = network_type(**options)
    models.mkdir(parents=True)
    torch.save({name: torch.randn_like(value.float()).to(value.dtype) for name, value in network.state_dict().items()},
               models / "model.pt")  # fmt: skip
    channels = {"channels": {"names": ["ct", "slic"], "slic_segments": 100, "slic_compactness": 0.1}}
    side = {"bundle": bundle, "version": "0", "network": options, "patch": {}, "window": [], **channels}
    (models / "model.json").write_text(json.dumps(side))
    return models / "model.pt"


def in_a_repository(bundle: str, folder: Path) -> Path:
    """A repository (its library and this bundle) whose bundle ships weights."""
    shutil.copytree(ROOT / "lung_nodule", folder / "lung_nodule", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "bundles" / bundle, folder / "bundles" / bundle, ignore=shutil.ignore_patterns("models"))
    return ship(folder / "bundles" / bundle / "models", bundle)


@pytest.fixture(scope="module", params=NETWORKS)
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle's weights in a repository and in an unzipped package."""
    folder = tmp_path_factory.mktemp(request.param)
    in_a_repository(request.param, folder / "repository")
    path, _ = write_package(folder / "repository" / "bundles" / request.param, folder / "zip")
    unzipped(path, folder / "packages")
    return {"repository": folder / "repository" / "bundles" / request.param,
            "package": folder / "packages" / request.param}  # fmt: skip


@pytest.mark.parametrize("place", ["repository", "package"])
def test_load_is_model_pt(place: str, places: dict[str, Path], tmp_path: Path) -> None:
    """From an empty folder, with the library on the path."""
    bundle = places[place]
    library = bundle.parents[1] if place == "repository" else bundle
    command = ["-c", PROGRAM, str(bundle.parent), bundle.name, str(bundle / "models" / "model.pt")]
    environment = {"PYTHONPATH": str(library), "PATH": ""}
    ended = run_python(command, folder=tmp_path, environment=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    expected = NETWORKS[bundle.name][0].__name__
    assert [line for line in ended.stdout.splitlines() if line.startswith(("train ", "inference "))] == [
        f"train {expected}", f"inference {expected}Predictor",
    ]  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_copy_elsewhere_is_loaded_with_its_own_sizes(tmp_path: Path) -> None:
    """A bundle's folder alone, with the library that lies in the repository."""
    copy = tmp_path / "elsewhere" / "mtnet"
    shutil.copytree(ROOT / "bundles" / "mtnet", copy, ignore=shutil.ignore_patterns("models"))
    weights = ship(copy / "models", "mtnet")
    command = ["-c", PROGRAM, str(copy.parent), "mtnet", str(weights)]
    ended = run_python(command, folder=tmp_path, environment={"PYTHONPATH": str(ROOT), "PATH": ""})
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "inference MTNetPredictor" in ended.stdout


@pytest.mark.parametrize("config", ["train", "evaluate", "inference"])
@pytest.mark.parametrize("bundle", NETWORKS)
def test_network_def_has_the_options_of_the_shipped_model_and_takes_others(
    bundle: str, config: str, tmp_path: Path
) -> None:
    """``net_override`` of ``load`` included, which MONAI hands over as ``network_def#width``."""
    copy = shutil.copytree(ROOT / "bundles" / bundle, tmp_path / bundle, ignore=shutil.ignore_patterns("models"))
    network_type, options = NETWORKS[bundle]
    weights = torch.load(ship(copy / "models", bundle), weights_only=True)
    for override, expected in (({}, weights), ({"network_def#width": 0.125}, None)):
        parser = ConfigParser()
        parser.read_config(copy / "configs" / f"{config}.json")
        parser.update({"bundle_root": str(copy), **override})
        parser.get_parsed_content("initialize")
        got = parser.get_parsed_content("network_def").state_dict()
        expected = expected or network_type(**{**options, "width": 0.125}).state_dict()
        assert {name: value.shape for name, value in got.items()} == {n: v.shape for n, v in expected.items()}


@pytest.mark.parametrize("bundle", NETWORKS)
def test_a_workflow_finds_its_bundle_from_any_folder(
    bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = ROOT / "bundles" / bundle
    for config, kind in (("train", "train"), ("inference", "infer"), ("evaluate", "infer")):
        workflow = ConfigWorkflow(
            workflow_type=kind, config_file=str(root / "configs" / f"{config}.json"), logging_file=False,
            **{"network_def#width": 0.125},
        )  # fmt: skip
        workflow.initialize()
        assert workflow.bundle_root == str(root)
        assert workflow.dataset_dir == str(ROOT / "data" / "lidc")


def test_a_bundles_folder_is_found_from_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a package's library; in bundles/ beside the repository's; else where the command was started."""
    package, repo, empty = (tmp_path / name for name in ("package", "repo", "empty"))
    for root in (package, repo / "bundles" / "mtnet"):
        shutil.copytree(ROOT / "bundles" / "mtnet" / "configs", root / "configs")
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert bundle_root("mtnet", library=package / "lung_nodule") == str(package)
    assert bundle_root("mtnet", library=repo / "lung_nodule") == str(repo / "bundles" / "mtnet")
    with pytest.raises(InputError, match=r"the bundle mtcnn is neither next to .* --bundle_root"):
        bundle_root("mtcnn", library=package / "lung_nodule")
    for folder in (repo, repo / "bundles" / "mtnet"):
        monkeypatch.chdir(folder)
        assert bundle_root("mtnet", library=empty / "lung_nodule") == str(repo / "bundles" / "mtnet")
    monkeypatch.chdir(package)
    assert bundle_root("mtnet", library=repo / "lung_nodule") == str(repo / "bundles" / "mtnet")
    metadata = json.loads((package / "configs" / "metadata.json").read_text())
    (package / "configs" / "metadata.json").write_text(json.dumps({**metadata, "lung_nodule": {}}))
    assert bundle_root("mtnet", library=repo / "lung_nodule") == str(package)  # its version check refuses that library
    assert repository(str(package)) == str(package)
    (repo / "lung_nodule").mkdir()
    assert repository(str(repo / "bundles" / "mtnet")) == str(repo)


def test_the_bundles_own_weights_come_first_unless_others_are_named(tmp_path: Path) -> None:
    root, out = tmp_path / "bundle", tmp_path / "out"
    default, given = DefaultFolder(out), str(out)
    own, trained = str(root / "models" / "model.pt"), str(out / "model.pt")
    assert model_path(str(root), default) == trained
    out.mkdir()
    (out / "model.pt").touch()
    assert model_path(str(root), default) == trained
    assert "the bundle has no models/model.pt" in reason(trained, str(root), default)
    (root / "models").mkdir(parents=True)
    (root / "models" / "model.pt").touch()
    assert model_path(str(root), default) == own
    assert f"although {trained} is there too: --output_dir {out} takes that" in reason(own, str(root), default)
    assert model_path(str(root), given) == trained
    assert reason(trained, str(root), given) == "as --output_dir says, although the bundle has its own"
    assert reason("other.pt", str(root), default) == "as --model_path says"
