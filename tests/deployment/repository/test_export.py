"""The export's refusals: one clear line, and no repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lung_nodule.deployment.repository.export import export_bundle
from lung_nodule.errors import InputError


@pytest.fixture
def broken(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be spoiled."""
    return Path(shutil.copytree(bundle, tmp_path / "mtnet"))


def _spoil(bundle: Path, changes: dict) -> None:
    side_file = bundle / "models" / "model.json"
    side_file.write_text(json.dumps(json.loads(side_file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"width": 0.25, "middle_blocks": 1}}, "does not hold the weights of mtnet with .*0.25"),
        ({"network": {"width": 0.125, "middle_blocks": 2}}, "does not hold the weights"),
        ({"bundle": "mtcnn"}, "belongs to bundle 'mtcnn'"),
        ({"task": "nodule"}, "trained with --task nodule: the served models answer for malignancy alone"),
        ({"patch": {"image_size": 64}}, "lacks patch_mm: take the one training wrote"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named(broken: Path, tmp_path: Path, changes: dict, message: str) -> None:
    _spoil(broken, changes)
    with pytest.raises(InputError, match=message) as caught:
        export_bundle(broken, tmp_path / "out", checkpoint=broken / "models" / "model.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["model.pt", "model.json"])
def test_a_missing_file_is_named(broken: Path, tmp_path: Path, missing: str) -> None:
    (broken / "models" / missing).unlink()
    with pytest.raises(InputError, match=missing):
        export_bundle(broken, tmp_path / "out", checkpoint=broken / "models" / "model.pt")
    assert not (tmp_path / "out").exists()


def test_an_unknown_engine_is_answered_with_the_known(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose onnxruntime, openvino or tensorrt"):
        export_bundle(bundle, tmp_path / "out", checkpoint=bundle / "models" / "model.pt", engine="directml")


@pytest.mark.parametrize(
    ("engine", "precision", "message"),
    [
        ("onnxruntime", "bf16", "onnxruntime takes fp32 or fp16, not bf16: .*--engine openvino or tensorrt"),
        ("openvino", "fp16", "openvino takes fp32 or bf16, not fp16: .*--engine onnxruntime or tensorrt"),
        ("tensorrt", "int8", "precision 'int8' is unknown: choose fp32, fp16 or bf16"),
    ],
)
def test_a_precision_that_the_engine_does_not_take_is_refused(
    bundle: Path, tmp_path: Path, engine: str, precision: str, message: str
) -> None:
    choices = {"engine": engine, "precision": precision, "checkpoint": bundle / "models" / "model.pt"}
    with pytest.raises(InputError, match=message):
        export_bundle(bundle, tmp_path / "out", **choices)
    assert not (tmp_path / "out").exists()


def test_a_bundle_without_templates_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'other' has no templates"):
        export_bundle(
            shutil.copytree(bundle, tmp_path / "other"), tmp_path / "out", checkpoint=bundle / "models" / "model.pt"
        )
