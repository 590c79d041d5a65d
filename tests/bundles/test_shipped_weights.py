"""The weights in the bundles' ``models/``: what they are, what they saw, and that inference takes them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from lung_nodule.holdout import holdout_patients
from lung_nodule.io import file_sha256
from lung_nodule.methods import METHODS, load_network, load_view
from tests.bundles.contract import ENVIRONMENT
from tests.forked import run_module

ROOT = Path(__file__).parents[2]
LARGEST, TOGETHER = 25 * 1024**2, 90 * 1024**2
SHIPPED = [name for name in METHODS if (ROOT / "bundles" / name / "models" / "model.pt").is_file()]


def weights(bundle: str) -> Path:
    return ROOT / "bundles" / bundle / "models" / "model.pt"


def side_file(bundle: str) -> dict:
    return json.loads(weights(bundle).with_suffix(".json").read_text())


def test_they_are_small_enough_for_a_repository() -> None:
    sizes = [weights(bundle).stat().st_size for bundle in SHIPPED]
    assert max(sizes) <= LARGEST
    assert sum(sizes) <= TOGETHER


@pytest.mark.parametrize("bundle", SHIPPED)
def test_they_are_tensors_with_their_manifest(bundle: str) -> None:
    described = side_file(bundle)
    assert described["bundle"] == bundle
    assert described["weights_sha256"] == file_sha256(weights(bundle))
    tensors = torch.load(weights(bundle), weights_only=True)
    assert all(torch.isfinite(value).all() for value in tensors.values())
    assert load_network(weights(bundle)).state_dict().keys() == tensors.keys()
    assert {"torch", "monai", "lung_nodule", "python"} <= described["software"].keys()
    for stage in described["training"].values():
        assert stage["epochs"] > 0
        assert stage["options"]["seed"] == 0
        assert stage["ended"]


@pytest.mark.parametrize("bundle", SHIPPED)
def test_the_metadata_describes_their_input(bundle: str) -> None:
    """What a stranger prepares images by: ``verify_net_in_out`` takes any size."""
    metadata = json.loads((ROOT / "bundles" / bundle / "configs" / "metadata.json").read_text())
    described, view = metadata["network_data_format"], load_view(weights(bundle))
    image, pred = described["inputs"]["image"], described["outputs"]["pred"]
    assert [image["num_channels"], *image["spatial_shape"]] == list(view.image_shape)
    assert pred["num_channels"] == len(view.channels)
    assert pred["spatial_shape"] in ([], image["spatial_shape"])
    patch = side_file(bundle)["patch"]
    assert f"{patch['image_size']} x {patch['image_size']}" in metadata["image_classes"]
    assert f"over {patch['patch_mm']:g} mm" in metadata["image_classes"] if "patch_mm" in patch else True


@pytest.mark.parametrize("bundle", SHIPPED)
def test_who_fitted_their_read_out_counts_as_seen(bundle: str) -> None:
    tested = pd.read_csv(ROOT / "docs" / "predictions.csv", usecols=["patient_id", "malignant", "method"])
    assert set(tested["patient_id"]) <= set(side_file(bundle)["patients_seen"])
    own = tested[tested["method"] == bundle]
    classified = int(own["malignant"].notna().sum())
    attributes = len(side_file(bundle)["readout"]["outputs"]) > 1
    assert side_file(bundle)["readout"]["nodules"] == (len(own) if attributes else classified)


@pytest.mark.parametrize("bundle", SHIPPED)
def test_they_were_trained_on_every_fold_and_saw_no_patient_of_the_hold_out(bundle: str) -> None:
    described = side_file(bundle)
    assert described["fold"] == "all"
    assert described["patients_validated"] == []
    assert len(described["patients_seen"]) > 300
    assert not holdout_patients() & set(described["patients_seen"])


@pytest.mark.parametrize("bundle", SHIPPED)
def test_their_readout_was_fitted_on_nodules_that_no_network_had_seen(bundle: str) -> None:
    """In the cross-validation: more nodules than any one fold has."""
    readout = side_file(bundle)["readout"]
    assert readout["nodules"] > 400
    assert 0 < readout["threshold"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("bundle", SHIPPED)
def test_inference_takes_them_and_says_so(bundle: str, painted: Path, tmp_path: Path) -> None:
    command = ["run", "inferring", "--config_file", f"bundles/{bundle}/configs/inference.json"]
    options = {"dataset_dir": painted, "results_dir": tmp_path / "out", "folds": "[0]"}
    command += [part for key, value in options.items() for part in (f"--{key}", str(value))]
    ended = run_module("monai.bundle", command, folder=ROOT, environment=ENVIRONMENT)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    assert str(weights(bundle)) in ended.stdout + ended.stderr
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["malignancy_prob"].between(0, 1).all()
    assert (table["malignancy_prob_min"] <= table["malignancy_prob_max"]).all()
