"""A training on every fold: all nodules, no validation, the last weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from lung_nodule.errors import InputError
from lung_nodule.training import require_folds, run
from lung_nodule.training.options.option_table import OF_BUNDLE

ROOT = Path(__file__).parents[2]
READOUT = {
    "mean": {"logit": 0.0, "measured_malignancy": 3.0},
    "deviation": {"logit": 1.0, "measured_malignancy": 1.0},
    "outputs": {"malignancy": {"weights": {"logit": 0.5, "measured_malignancy": 0.2}, "intercept": 0.1}},
    "nodules": 20,
}
SMALL = {
    "mtnet": {"width": 0.125, "middle_blocks": 1, "image_size": 32},
    "mtmrnet": {"width": 0.125, "image_size": 32, "slices_per_nodule": 1},
    "mtcnn": {"width": 0.125, "draws_per_nodule": 1},
    "e2emtl": {"width": 0.125, "image_size": 32},
}


def parser_of(bundle: str, dataset: Path, output: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / bundle / "configs" / "train.json")
    parser.update({"dataset_dir": str(dataset), "output_dir": str(output), "device": "cpu", **SMALL[bundle]})
    parser.update({"fold": "all", "kept_epoch": "last", "max_epochs": 1, "average_decay": 0.9})
    return parser


@pytest.mark.parametrize("bundle", OF_BUNDLE)
def test_every_fold_is_trained_on(bundle: str, painted: Path, tmp_path: Path) -> None:
    parser = parser_of(bundle, painted, tmp_path)
    assert {item["fold"] for item in parser.get_parsed_content("training_list")} == {0, 1, 2, 3, 4}
    assert parser.get_parsed_content("validation_list") == []
    settings = parser.get_parsed_content("settings")
    assert len(settings["patients_seen"]) == 10
    assert settings["patients_validated"] == []


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["mtmrnet", "mtcnn"])
def test_the_last_weights_are_the_model(bundle: str, painted: Path, tmp_path: Path) -> None:
    """A read-out comes from a file; the ratings that measurements give are fitted on all nodules."""
    parser = parser_of(bundle, painted, tmp_path)
    run(parser.get_parsed_content("train#trainer"), seed=0)
    parser.get_parsed_content("assemble")
    side_file = json.loads((tmp_path / "model.json").read_text())
    assert (side_file["fold"], side_file["validation_fold"]) == ("all", None)
    assert "readout" not in side_file
    if bundle == "mtmrnet":
        parser["readout_file"] = str(tmp_path / "readout.json")
        (tmp_path / "readout.json").write_text(json.dumps({**READOUT, "patients": ["another"]}))
        parser.get_parsed_content("fit_readout")
        seen = sorted([*side_file["patients_seen"], "another"])
        written = json.loads((tmp_path / "model.json").read_text())
        measured = written["readout"].pop("measured")
        assert written == {**side_file, "patients_seen": seen, "readout": READOUT}
        assert len(measured["support"]) == 20
        assert set(measured["ratings"]) == {"malignancy"}


def test_nothing_could_choose_an_epoch() -> None:
    with pytest.raises(InputError, match="--kept_epoch last"):
        require_folds(test="all", validation=None, training=[0, 1, 2, 3, 4], kept_epoch="best")
