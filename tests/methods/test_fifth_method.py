"""The README's recipe: a network, a view, a bundle folder, model configs and a row make a method. Here a tiny one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from monai.bundle import ConfigParser
from tritonclient.grpc import InferenceServerClient

from lung_nodule.deployment.client import request_inputs
from lung_nodule.deployment.repository import model_repository
from lung_nodule.deployment.repository.export import export_bundle
from lung_nodule.deployment.server.canary import ask_canary
from lung_nodule.deployment.server.server import TritonServer
from lung_nodule.io import Voi, center_of, read_nifti, read_table
from lung_nodule.methods import METHODS, Method, load_network, register
from tests.methods.toy_bundle import write_bundle, write_templates
from tests.methods.toy_network import ToyNet, ToyPredictor
from tests.methods.toy_view import CentralSliceView


@pytest.fixture(scope="module", autouse=True)
def _row() -> Iterator[None]:
    """The toy's row, taken back afterwards."""
    register(Method("toy", ToyNet, ToyPredictor, CentralSliceView))
    yield
    del METHODS["toy"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def output(bundle: Path, painted: Path) -> Path:
    """Trained for an epoch, evaluated, and inferred with: the output folder."""
    output = bundle.parent / "out"
    small = {"image_size": 32, "max_epochs": 1, "batch_size": 8}
    run(bundle, "train", "training", dataset_dir=painted, output_dir=output, **small)
    run(bundle, "evaluate", "evaluating", dataset_dir=painted, output_dir=output)
    run(bundle, "inference", "inferring", dataset_dir=painted, output_dir=output, folds=[0])
    return output


def run(bundle: Path, config: str, run_id: str, **options: object) -> None:
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / f"{config}.json")
    given = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    parser.update({"bundle_root": str(bundle), "device": "cpu", **given})
    parser.get_parsed_content("initialize")
    parser.get_parsed_content(run_id)


def test_it_is_trained_and_evaluated(output: Path) -> None:
    assert isinstance(load_network(output / "model.pt"), ToyNet)
    metrics = json.loads((output / "evaluation" / "metrics.json").read_text())
    assert metrics["settings"]["bundle"] == "toy"
    assert metrics["counts"]["nodules"] == 4
    assert 0 <= metrics["classification"]["auc"] <= 1
    assert metrics["segmentation"] is None


@pytest.mark.slow
def test_it_is_exported_and_served_from_a_ct(
    bundle: Path, output: Path, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real server, asked with a VOI in HU, answers what the bundle's own inference wrote."""
    monkeypatch.setattr(model_repository, "TEMPLATES", write_templates(tmp_path / "triton_repo"))
    repository = export_bundle(bundle, tmp_path / "repository", checkpoint=output / "model.pt")
    step = repository / "toy_preprocess" / "1"
    assert json.loads((step / "view.json").read_text())["view"] == "toy_view:CentralSliceView"
    own = pd.read_csv(output / "inference" / "predictions.csv").set_index("nodule_id")["malignancy_prob"]
    rows = read_table(painted / "nodules.csv").set_index("nodule_id", drop=False).loc[own.index].to_dict("records")
    with TritonServer(repository) as server, InferenceServerClient(server.grpc_url) as client:
        assert ask_canary(server.grpc_url) == ["toy"]
        for row in rows:
            answer = client.infer("toy", request_inputs(voi_of(row, painted)), client_timeout=120)
            assert answer.as_numpy("MALIGNANCY_PROBABILITY")[0] == pytest.approx(own[row["nodule_id"]], abs=1e-4)
    assert own.nunique() == 4, "equal answers would prove nothing"


def voi_of(row: dict, dataset: Path) -> Voi:
    """A nodule's own VOI file."""
    volume = read_nifti(dataset / row["ct"]).canonical()
    box = tuple(slice(0, size) for size in volume.shape)
    return Voi(row["nodule_id"], volume, box, volume.to_index(center_of(row)))
