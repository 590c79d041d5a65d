"""What differs between two bundles is what differs between two papers; and what a bad option ends in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from lung_nodule.errors import user_error

ROOT = Path(__file__).parents[2]
BUNDLES = ("mtnet", "mtmrnet", "mtcnn", "e2emtl")
SAME = {
    "train": (
        "bundle_root", "repository", "dataset_dir", "output_dir", "device", "fold", "validation_fold", "training_folds",
        "min_readers", "max_slice_thickness_mm", "consensus", "hu_window", "val_interval", "num_workers", "seed",
        "model_path", "initialize", "run", "load",
    ),
    "evaluate": (
        "bundle_root", "repository", "dataset_dir", "output_dir", "model_path", "results_dir", "device", "settings",
        "fold", "cohort", "consensus", "crop_margin_mm", "center_error_mm", "num_workers", "seed", "initialize",
        "evaluating", "run", "load", "crop_voi", "move_center", "preprocessing", "dataloader",
    ),
    "inference": (
        "bundle_root", "repository", "dataset_dir", "nodules", "ct", "patient_id", "series_uid", "output_dir",
        "model_path", "results_dir", "device", "settings", "folds", "min_readers", "max_slice_thickness_mm",
        "num_workers", "seed", "initialize", "inferring", "run",
        "load", "preprocessing", "dataset", "dataloader", "evaluator",
    ),
}  # fmt: skip
SECOND_TASK = {
    "mtcnn": {
        "train": {"validation_fold", "training_folds", "load"},
        "evaluate": {"evaluating", "preprocessing"},
        "inference": {"inferring"},
    }
}
"""What a paper with two experiments decides by --task: LUNA16's candidates have ten folds and no masks."""
OF_COMMANDS = {
    "config_file", "meta_file", "ckpt_file", "filepath", "use_trace", "input_shape", "converter_kwargs", "bundle",
    "repository", "engine",
}  # fmt: skip
METHODS_OWN = re.compile(r"(?<=, )slices=@slices, ")  # of the two that look at slices


def config(bundle: str, name: str) -> dict:
    return json.loads((ROOT / "bundles" / bundle / "configs" / f"{name}.json").read_text())


def card(bundle: str) -> str:
    return (ROOT / "bundles" / bundle / "docs" / "README.md").read_text()


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("bundle", BUNDLES[1:])
def test_what_no_paper_changes_is_the_same_in_every_bundle(bundle: str, name: str) -> None:
    first, other = config(BUNDLES[0], name), config(bundle, name)
    for key in set(SAME[name]) - SECOND_TASK.get(bundle, {}).get(name, set()):
        assert json.dumps(other[key]).replace(bundle, BUNDLES[0]) == json.dumps(first[key]), key


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("bundle", BUNDLES[1:])
def test_shared_keys_come_in_one_order(bundle: str, name: str) -> None:
    first, other = config(BUNDLES[0], name), config(bundle, name)
    assert [key for key in other if key in first] == [key for key in first if key in other]


@pytest.mark.parametrize("bundle", BUNDLES[1:])
def test_every_evaluation_reports_the_same_settings(bundle: str) -> None:
    said = [config(name, "evaluate")["handlers"][0]["settings"] for name in (BUNDLES[0], bundle)]
    assert METHODS_OWN.sub("", said[1]) == METHODS_OWN.sub("", said[0])


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_card_has_the_same_sections(bundle: str) -> None:
    assert re.findall(r"^## (.+)$", card(bundle), re.MULTILINE) == [
        "Authors", "Tags", "Model description", "MONAI Bundle Commands", "Data", "Training configuration",
        "System configuration", "Performance", "Where the paper is silent or wrong, and what is done here",
        "Limitations", "References", "License",
    ]  # fmt: skip


@pytest.mark.parametrize("bundle", BUNDLES)
def test_metadata_and_card_state_the_same_figures_authors_and_references(bundle: str) -> None:
    metadata, text = config(bundle, "metadata"), card(bundle)
    performance = text.split("## Performance")[1].split("\n## ")[0]
    figures = dict(metadata["eval_metrics"])
    assert re.search("test fold 0|cross-validation", figures.pop("protocol"))
    assert {"auc", "accuracy", "baseline_diameter_auc"} <= set(figures)
    for name, figure in figures.items():
        assert f"{figure:.3f}" in performance, name
    assert metadata["authors"][1:] in text
    for number, reference in enumerate(metadata["references"], start=1):
        assert re.search(r"doi:10\.\d{4,}/\S+$", reference), reference
        assert f"\n[{number}] {reference}\n" in text


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_option_that_a_card_names_exists(bundle: str) -> None:
    known = {key for name in SAME for key in config(bundle, name)} | OF_COMMANDS
    named = set(re.findall(r"--([a-z]\w+)", card(bundle)))
    assert "width" in named
    assert not named - known


BAD_OPTIONS = [
    *((bundle, option) for bundle in BUNDLES for option in ({"width": 0}, {"fold": 9}, {"max_epochs": 0})),
    *((bundle, {"consensus": "most"}) for bundle in BUNDLES),
    *((bundle, {"hu_window": [400, -1000]}) for bundle in BUNDLES),
    ("mtnet", {"image_size": 100}), ("mtnet", {"rank_k": 0}), ("mtnet", {"segmentation_batch_size": 1}),
    ("mtmrnet", {"rank_pairs": "x"}), ("mtmrnet", {"crop": "x"}), ("mtmrnet", {"batch_size": 1}),
    ("mtmrnet", {"soft_target": "x"}),
    ("mtmrnet", {"regression": False, "bidirectional": True}), ("mtmrnet", {"slices_per_nodule": 0}),
    ("mtcnn", {"conv_layers": 7}), ("mtcnn", {"alpha": -1}), ("mtcnn", {"spline_order": 2}), ("mtcnn", {"patience": 0}),
    ("mtcnn", {"malignancy": "mode"}), ("mtcnn", {"image_size": 60}),
    ("e2emtl", {"norm": "foo"}), ("e2emtl", {"malignancy_loss": "x"}), ("e2emtl", {"channels": ["x"]}),
    ("e2emtl", {"mask_loss": "x"}), ("e2emtl", {"mask_weight": 0}), ("e2emtl", {"soft_label": "x"}),
    ("e2emtl", {"crop_variants": 0}), ("e2emtl", {"cycles": 0}), ("e2emtl", {"image_size": 40}),
]  # fmt: skip


@pytest.mark.parametrize(("bundle", "options"), BAD_OPTIONS)
def test_a_bad_option_is_a_user_error(bundle: str, options: dict, painted: Path, tmp_path: Path) -> None:
    """Refused while the training is built, by an error whose message is one line that names the value."""
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / bundle / "configs" / "train.json")
    small = {"width": 0.125, "image_size": 32, "dataset_dir": str(painted), "output_dir": str(tmp_path / "out")}
    parser.update({**small, "device": "cpu", **options})
    parser["start"] = ["%initialize", "@train#trainer"]
    with pytest.raises(RuntimeError) as raised:
        parser.get_parsed_content("start")
    cause = user_error(raised.value)
    assert cause is not None
    assert "\n" not in str(cause)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "value"), [("fold", "abc"), ("fold", 1.5), ("learning_rate", "fast")])
@pytest.mark.parametrize("bundle", BUNDLES)
def test_an_option_of_another_type_is_one_line(bundle: str, option: str, value: object, painted: Path) -> None:
    """Also where other options are computed from it."""
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / bundle / "configs" / "train.json")
    parser.update({option: value, "dataset_dir": str(painted)})
    with pytest.raises(RuntimeError) as raised:
        parser.get_parsed_content("initialize")
    cause = user_error(raised.value)
    assert cause is not None
    assert f"--{option} must be a" in str(cause)
