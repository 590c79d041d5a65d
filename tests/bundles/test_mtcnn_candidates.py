"""MT-CNN's second experiment: nodule or not, on LUNA16's candidates, through the bundle's own configurations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monai.bundle import ConfigParser
from PIL import Image

from ci.bundle_tools.derived_candidates import write_luna16_tables
from lung_nodule.errors import user_error
from lung_nodule.io import read_nifti
from preprocessing.__main__ import main
from tests.bundles.test_mtcnn import TestMTCNN as MTCNN

BUNDLE = MTCNN()
SMALL = {**MTCNN.small, "max_epochs": 1, "batch_size": 16, "task": "nodule"}
del MTCNN


@pytest.fixture(scope="module")
def trained(candidates: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of one training and its evaluation, as a user runs them."""
    output = tmp_path_factory.mktemp("mtcnn_candidates")
    BUNDLE.run("training", "train", dataset=candidates, output=output, **SMALL)
    said = BUNDLE.run("evaluating", "evaluate", dataset=candidates, output=output, device="cpu")
    assert "SYNTHETIC DATA, no result; 14 candidates of 1 scans, 2 of nodules; AUC " in said
    assert "; CPM " in said
    return output


def parsed(config: str, **options: object) -> ConfigParser:
    """A configuration with options, its ``initialize`` done."""
    parser = ConfigParser()
    parser.read_config(BUNDLE.configs / f"{config}.json")
    parser.update(options)
    parser.get_parsed_content("initialize")
    return parser


def refusal(config: str, run: str, **options: object) -> str:
    """The one line that a run ends with."""
    with pytest.raises(Exception) as raised:  # noqa: PT011
        parsed(config, **options).get_parsed_content(run)
    cause = user_error(raised.value)
    assert cause is not None
    return str(cause)


def test_the_side_file_records_the_task_and_whom_the_model_saw(trained: Path) -> None:
    settings = json.loads((trained / "model.json").read_text())
    assert settings["task"] == "nodule"
    assert (settings["fold"], settings["validation_fold"]) == (0, 1)
    assert settings["patients_seen"] == [f"SYN-{number:04d}" for number in range(1, 9)]  # SYN-0009 has no candidates
    assert settings["cohort"]["settings"]["negatives_per_scan"] == 8
    assert set(settings["cohort"]["sources"]) == {"candidates", "subsets", "annotations"}


def test_every_candidate_of_the_fold_is_scored_as_a_nodule(trained: Path, candidates: Path) -> None:
    predictions = pd.read_csv(trained / "evaluation" / "predictions.csv")
    table = pd.read_csv(candidates / "candidates" / "candidates.csv").query("fold == 0")
    assert predictions["nodule_id"].tolist() == table["candidate_id"].tolist()
    assert predictions["label"].tolist() == table["label"].tolist()
    assert table["voi"].isna().any()  # those that had to be cut from the whole CT
    assert "malignancy_prob" not in predictions.columns
    weights = json.loads((trained / "model.json").read_text())["view_weights"]
    views = predictions[[f"view_{view}_prob" for view in range(1, 10)]].to_numpy()
    np.testing.assert_allclose(predictions["nodule_prob"], views @ weights, atol=1e-6)


def test_the_free_response_curve_is_a_table_and_a_picture(trained: Path) -> None:
    metrics = json.loads((trained / "evaluation" / "metrics.json").read_text())
    detection = metrics["detection"]
    assert metrics["notes"][0].startswith("SYNTHETIC DATA")
    assert metrics["counts"]["annotated_nodules"] == 2
    assert detection["cpm"] == pytest.approx(np.mean(list(detection["sensitivity_at"].values())), abs=1e-5)
    assert 0 < detection["baselines"]["constant_cpm"] < detection["baselines"]["random_cpm"] < 1
    curve = pd.read_csv(trained / "evaluation" / "froc.csv")
    assert curve["sensitivity"].iloc[[0, -1]].tolist() == [0.0, detection["highest_sensitivity"]]
    assert curve["false_positives_per_scan"].iloc[-1] == metrics["counts"]["false_positives"]
    assert Image.open(trained / "evaluation" / "froc.png").size[0] > 500


@pytest.mark.slow
def test_another_task_than_the_models_is_refused(trained: Path, candidates: Path, painted: Path) -> None:
    model = {"dataset_dir": str(candidates), "output_dir": str(trained), "device": "cpu"}
    said = refusal("evaluate", "evaluating", **model, task="malignancy")
    assert said == "this model was trained with --task nodule, it cannot answer --task malignancy: leave --task out"
    assert "no candidates in" in refusal("evaluate", "evaluating", **{**model, "dataset_dir": str(painted)})
    assert "cannot answer --task malignancy" in refusal("inference", "inferring", **model, task="malignancy")
    other = refusal("train", "training", **{**SMALL, **model, "alpha": 0.0})
    assert "was trained with" in other
    assert "alpha=0.3, not 0.0" in other


def test_a_users_own_candidates_are_answered_for(trained: Path, candidates: Path, tmp_path: Path) -> None:
    """Centres of a detector, and the CT that they are of: no dataset, no label."""
    own = pd.read_csv(candidates / "candidates" / "candidates.csv").query("fold == 0")
    table = own[["candidate_id", "center_x_ras", "center_y_ras", "center_z_ras"]].head(3)
    table.rename(columns={"candidate_id": "nodule_id"}).to_csv(tmp_path / "nodules.csv", index=False)
    parser = parsed(
        "inference",
        output_dir=str(trained),
        results_dir=str(tmp_path / "out"),
        device="cpu",
        nodules=str(tmp_path / "nodules.csv"),
        ct=str(candidates / own["ct"].iloc[0]),
    )
    parser.get_parsed_content("inferring")
    answered = pd.read_csv(tmp_path / "out" / "nodules.csv")
    evaluated = pd.read_csv(trained / "evaluation" / "predictions.csv").head(3)
    assert "malignancy_prob" not in answered.columns
    np.testing.assert_allclose(answered["nodule_prob"], evaluated["nodule_prob"], atol=1e-5)


def test_a_patient_that_the_model_saw_is_not_evaluated(trained: Path, candidates: Path) -> None:
    model = {"dataset_dir": str(candidates), "output_dir": str(trained), "device": "cpu"}
    for fold in (1, 5):  # of the validation, of the training
        assert "took part in this model's training" in refusal("evaluate", "evaluating", **model, fold=fold)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 10}, "--fold must be a fold from 0 to 9, or all, got 10"),
        ({"task": "malignancy", "fold": 7}, "--fold must be a fold from 0 to 4, or all, got 7"),
        ({"task": "nodules"}, "--task must be malignancy or nodule, got 'nodules'"),
        ({"validation_fold": 3, "training_folds": [3, 4]}, "patients must not cross a split"),
        ({"fold": 8}, "none of its 126 candidates with a VOI is in folds [9]"),
        ({"patch_mm": 96.0}, "--patch_mm 96 is larger than the 64 mm"),
        (
            {"readout_features": ["logit"]},
            "--task nodule has no read-out, which is of malignancy: add --readout_features",
        ),
        ({"crop_variants": 6}, "--crop_variants 6 needs masks, which candidates do not have: leave it out"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    changes: dict[str, object], message: str, candidates: Path, tmp_path: Path
) -> None:
    options = {**SMALL, "dataset_dir": str(candidates), "output_dir": str(tmp_path / "out"), **changes}
    assert message in refusal("train", "training", **options)
    assert not (tmp_path / "out").exists()


def test_no_crop_around_a_mask_is_evaluated(candidates: Path, trained: Path) -> None:
    options = {"dataset_dir": str(candidates), "output_dir": str(trained), "crop_margin_mm": 6.0}
    said = refusal("evaluate", "evaluating", **options)
    assert "--crop_margin_mm 6 needs masks, which candidates do not have: leave it out" in said


def test_nodules_are_drawn_several_times_and_the_others_once(candidates: Path, tmp_path: Path) -> None:
    parser = parsed("train", **{**SMALL, "dataset_dir": str(candidates), "output_dir": str(tmp_path), "fold": 3})
    dataset = parser.get_parsed_content("train#dataset")
    targets = [float(dataset[index]["target"]) for index in range(len(dataset))]
    assert (targets.count(1.0), targets.count(0.0)) == (7 * 2 * SMALL["draws_per_nodule"], 7 * 8)
    assert parser.get_parsed_content("training_folds") == [0, 1, 2, 5, 6, 7, 8, 9]
    assert dataset[0]["image"].shape == (9, 32, 32)


@pytest.mark.long
def test_from_the_phantom_to_the_metric(tmp_path: Path) -> None:
    """Synthetic DICOM, converted; candidates of its nodules, vessels and lung; one epoch; the curve. No result."""
    out, luna16 = tmp_path / "dataset", tmp_path / "luna16"
    commands = [
        ["phantom", "--out", str(tmp_path / "dicom"), "--patients", "LIDC-IDRI-0078,LIDC-IDRI-0188,LIDC-IDRI-0287"],
        ["convert", "--dicom_root", str(tmp_path / "dicom"), "--out", str(out)],
    ]
    assert [main(command) for command in commands] == [0, 0]
    write_luna16_tables(out, luna16)
    tables = ["--table", luna16 / "candidates.csv", "--annotations", luna16 / "annotations.csv"]
    command = ["candidates", "--dataset", out, *tables, "--subsets", luna16 / "subsets.csv"]
    assert main([str(part) for part in command]) == 0
    written = pd.read_csv(out / "candidates" / "candidates.csv")
    assert sorted(written["fold"].unique()) == [0, 1, 2]
    assert ((written["label"] == 1) == written["finding_id"].notna()).all()
    hu = {row.candidate_id: float(_hu(out, row)) for row in written.itertuples()}
    assert np.median([hu[name] for name in written.query("label == 1")["candidate_id"]]) > -500
    output = tmp_path / "out"
    BUNDLE.run("training", "train", dataset=out, output=output, **SMALL)
    said = BUNDLE.run("evaluating", "evaluate", dataset=out, output=output, device="cpu")
    assert "SYNTHETIC DATA, no result" in said
    metrics = json.loads((output / "evaluation" / "metrics.json").read_text())
    assert metrics["dataset"]["synthetic"] is True
    assert 0 <= metrics["detection"]["cpm"] <= 1
    assert metrics["counts"]["candidates"] == (written["fold"] == 0).sum()
    assert (output / "evaluation" / "froc.csv").is_file()


def _hu(dataset: Path, row: object) -> float:
    volume = read_nifti(dataset / row.voi)
    index = volume.to_index(np.array([row.center_x_ras, row.center_y_ras, row.center_z_ras]))
    return volume.data[tuple(np.rint(index).astype(int))]
