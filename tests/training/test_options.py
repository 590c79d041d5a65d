"""Options that are misspelt, or that no training could run with, are refused by name before any work."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from lung_nodule.errors import InputError, user_error
from lung_nodule.methods import METHODS
from lung_nodule.training import check_options, require_folds, require_validation
from lung_nodule.training.options.option_kinds import (
    DEVICE,
    FLAG,
    PATH,
    POSITIVE,
    SHARE,
    evaluated_fold_of,
    fold_of,
    folds,
    whole,
)
from lung_nodule.training.options.option_table import OF_BUNDLE, kinds_of

ROOT = Path(__file__).parents[2]
WORKFLOWS = ("train", "evaluate", "inference")
ALL = [(bundle, workflow) for bundle in OF_BUNDLE for workflow in WORKFLOWS]

NOT_CHECKED = {
    "what MONAI runs": {
        "imports", "initialize", "finalize", "run", "training", "training_coarse", "training_fine",
        "training_classifier", "evaluating", "inferring", "assemble", "fit_readout",
    },
    "computed, or read from the model's side file": {
        "task_def", "settings", "search_path", "shipped", "network_options", "cohort", "network",
        "memory_format", "validation_transform", "rated_list", "training_list", "validation_list",
    },
    "a part that is built, whose own arguments are options or checked by its class": {
        "network_def", "nodule_view", "load", "cut", "nodules", "validation_nodules", "view", "views", "keep", "crops",
        "variant_images", "crop_voi", "move_center", "augment",
        "aggregate", "stage", "segmentation", "preprocessing", "dataset", "dataloader",
        "inferer", "postprocessing", "key_metric", "handlers", "evaluator", "coarse", "fine", "train", "validate",
    },
    "which entries of an item the transforms change": {"slice_keys"},
}  # fmt: skip


OPTIONS_TOO = {("inference", "nodules")}  # a part of the training, a table at inference


def shipped(bundle: str, workflow: str) -> dict[str, Any]:
    return json.loads((ROOT / "bundles" / bundle / "configs" / f"{workflow}.json").read_text())


def top_level() -> list[tuple[str, str, str]]:
    return [(bundle, workflow, key) for bundle, workflow in ALL for key in shipped(bundle, workflow)]


@pytest.mark.parametrize(("bundle", "workflow", "key"), top_level())
def test_every_option_is_checked_or_has_a_reason(bundle: str, workflow: str, key: str) -> None:
    reasons = [reason for reason, keys in NOT_CHECKED.items() if key in keys and (workflow, key) not in OPTIONS_TOO]
    assert (key in kinds_of(bundle, workflow)) + len(reasons) == 1


@pytest.mark.parametrize("bundle", OF_BUNDLE)
def test_the_table_holds_no_option_that_its_bundle_lacks(bundle: str) -> None:
    assert OF_BUNDLE[bundle].keys() <= shipped(bundle, "train").keys()


@pytest.fixture
def initialized(monkeypatch: pytest.MonkeyPatch, painted: Path, tmp_path: Path) -> Callable[..., ConfigWorkflow]:
    """A bundle's workflow from Python, initialized in the repository."""
    monkeypatch.chdir(ROOT)

    def initialize(bundle: str, workflow: str, *overlays: str | Path, **options: object) -> ConfigWorkflow:
        files = [ROOT / "bundles" / bundle / "configs" / f"{workflow}.json", *overlays]
        changes = {"dataset_dir": str(painted), "output_dir": str(tmp_path / "out"), "device": "cpu", **options}
        small = {"width": 0.125} if workflow == "train" else {}
        result = ConfigWorkflow(
            config_file=[str(file) for file in files], logging_file=False, workflow_type=None, **{**small, **changes}
        )
        result.initialize()
        return result

    return initialize


def refused(run: Callable[[], object]) -> str:
    """The line that a user sees."""
    with pytest.raises(RuntimeError) as raised:
        run()
    error = user_error(raised.value)
    assert error is not None
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize(("bundle", "workflow"), ALL)
def test_a_misspelt_option_is_refused_with_the_nearest_name(
    bundle: str, workflow: str, initialized: Callable[..., ConfigWorkflow], tmp_path: Path
) -> None:
    said = refused(lambda: initialized(bundle, workflow, ouput_dir="x"))
    assert said == "unknown option --ouput_dir (did you mean --output_dir?)"
    overlay = tmp_path / "mine.json"
    overlay.write_text(json.dumps({"datset_dir": "elsewhere", "seeds": 3}))
    said = refused(lambda: initialized(bundle, workflow, overlay))
    assert said == "unknown options --datset_dir (did you mean --dataset_dir?) and --seeds (did you mean --seed?)"


def test_names_of_other_bundles_lead_to_ours(initialized: Callable[..., ConfigWorkflow]) -> None:
    assert refused(lambda: initialized("mtnet", "train", max_epoch=3)).endswith("(did you mean --max_epochs?)")
    said = refused(lambda: initialized("mtcnn", "inference", ckpt_path="mine.pt"))
    assert said == "unknown option --ckpt_path (did you mean --model_path?)"
    said = refused(lambda: initialized("mtcnn", "evaluate", xyzzy=1))
    assert said == "unknown option --xyzzy; the options are listed at the top of evaluate.json"
    assert "not an option that takes a value" in refused(lambda: initialized("mtnet", "evaluate", dataset="x"))


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("train#trainer#max_epoch", "train#trainer#max_epochs"),
        ("train::optimizer::weight_decai", "train#optimizer#weight_decay"),
        ("train#dataloader#batch_siz", "train#dataloader#batch_size"),
        ("cohort#min_reader", "cohort#min_readers"),
        ("coarse#optimizer#l", "coarse#optimizer#lr"),
        ("fine#val_intervall", "fine#val_interval"),
        ("train#stage#upstram", "train#stage#upstream"),
    ],
)
def test_a_nested_path_that_does_not_exist_is_refused(
    path: str, near: str, initialized: Callable[..., ConfigWorkflow]
) -> None:
    said = refused(lambda: initialized("mtnet", "train", **{path: 3}))
    assert said == f"unknown option --{path.replace('::', '#')} (did you mean --{near}?)"


def test_what_exists_or_is_referred_to_passes(initialized: Callable[..., ConfigWorkflow], tmp_path: Path) -> None:
    """Nested ids in both spellings, arguments that a class takes, merges, and a user's own part that is used."""
    overlay = tmp_path / "mine.json"
    added = [{"_target_": "StatsHandler", "iteration_log": False}]
    overlay.write_text(
        json.dumps(
            {
                "my_factor": 0.5,
                "train#lr_scheduler#gamma": "@my_factor",
                "+train#handlers": added,
                "my_run": ["$@network_def"],
                "_note": "a comment",
                "train#dataloader#persistent_workers": False,
            }
        )
    )
    options = {"train#trainer#max_epochs": 5, "train::optimizer::betas": [0.8, 0.99]}
    workflow = initialized("mtmrnet", "train", overlay, **options)
    assert workflow.parser["train#trainer#max_epochs"] == 5
    assert workflow.parser["train#handlers"][-1] == added[0]


@pytest.mark.parametrize(
    ("bundle", "nested", "message"),
    [
        ("mtnet", {"nodule_view#patch_mm": 64.5}, "--nodule_view#patch_mm is set by --patch_mm: use that"),
        ("mtnet", {"settings#patch#patch_mm": 16.0}, "--settings#patch#patch_mm is set by --patch_mm: use that"),
        ("mtmrnet", {"train::optimizer::lr": 0.01}, "--train#optimizer#lr is set by --heads_learning_rate: use that"),
        (
            "e2emtl",
            {"train#loss": {"_target_": "lung_nodule.losses.EndToEndLoss", "malignancy_loss": "bce"}},
            "--train#loss#malignancy_loss is set by --malignancy_loss: use that",
        ),
        ("mtcnn", {"cohort#min_readers": 1}, "--cohort#min_readers is set by --min_readers: use that"),
        (
            "mtnet",
            {"augment#transforms#5#translate": 3.0, "settings#fold": 4},
            "--augment#transforms#5#translate is set by --image_size and --translate: use these; --settings#fold is "
            "set by --fold: use that",
        ),
        ("mtnet", {"train#optimizer#lr": "$@classifier_learning_rate / 2"}, "is set by --classifier_learning_rate"),
    ],
)
def test_a_nested_value_that_an_option_sets_is_refused(
    bundle: str, nested: dict[str, object], message: str, initialized: Callable[..., ConfigWorkflow], tmp_path: Path
) -> None:
    """From Python, as on the command line, and in a file."""
    assert message in refused(lambda: initialized(bundle, "train", **nested))
    overlay = tmp_path / "mine.json"
    overlay.write_text(json.dumps({key.replace("::", "#"): value for key, value in nested.items()}))
    assert message in refused(lambda: initialized(bundle, "train", overlay))


@pytest.mark.parametrize(
    ("bundle", "options", "message"),
    [
        ("mtnet", {"classifier_batch_size": 33}, "--classifier_batch_size 33 does not divide into equal parts for 2 "),
        ("mtmrnet", {"batch_size": 6}, "--batch_size 6 does not divide into equal parts that are multiples of 2 for 2"),
    ],
)
def test_a_batch_that_processes_cannot_share_is_refused_at_the_start(
    bundle: str,
    options: dict[str, object],
    message: str,
    initialized: Callable[..., ConfigWorkflow],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of every stage: the last one's loader is built when the others have been trained."""
    assert initialized(bundle, "train", **options)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert message in refused(lambda: initialized(bundle, "train", **options))


@pytest.mark.parametrize("bundle", METHODS)
def test_a_misspelt_read_out_is_refused_before_the_training(
    bundle: str, initialized: Callable[..., ConfigWorkflow]
) -> None:
    said = refused(lambda: initialized(bundle, "train", readout_features=["logitt"]))
    assert "--readout_features" in said
    assert "logit, " in said
    recommended = json.loads((ROOT / "bundles" / bundle / "configs" / "recommended.json").read_text())
    assert initialized(bundle, "train", readout_features=recommended["readout_features"])
    if "readout_attributes" in shipped(bundle, "train"):
        assert "--readout_attributes" in refused(lambda: initialized(bundle, "train", readout_attributes=["subtletyy"]))
        alone = refused(lambda: initialized(bundle, "train", readout_attributes=["subtlety"]))
        assert "--readout_attributes needs a read-out: give --readout_features" in alone


def test_a_network_without_a_malignancy_has_no_read_out(initialized: Callable[..., ConfigWorkflow]) -> None:
    """The single-task ablation of the card, with the recommended recipe: refused before the training."""
    recommended = ROOT / "bundles" / "e2emtl" / "configs" / "recommended.json"
    single = {"channels": ["ct"], "multi_task": False}
    said = refused(lambda: initialized("e2emtl", "train", recommended, **single))
    assert "a network that gives no malignancy (--multi_task False) has no read-out" in said
    assert initialized("e2emtl", "train", recommended, **single, readout_features=[], readout_attributes=[])
    assert initialized("e2emtl", "train", **single)


@pytest.mark.parametrize(("bundle", "workflow"), ALL)
def test_every_configuration_passes_as_it_is(
    bundle: str, workflow: str, initialized: Callable[..., ConfigWorkflow]
) -> None:
    assert initialized(bundle, workflow).parser.get()


@pytest.mark.parametrize("bundle", OF_BUNDLE)
def test_a_cpu_is_advised_the_recommended_settings(bundle: str, initialized: Callable[..., ConfigWorkflow]) -> None:
    option, files = shlex.split(shipped(bundle, "train")["small_version"])
    assert option == "--config_file"
    train, recommended = (ROOT / path for path in yaml.safe_load(files))
    assert train == ROOT / "bundles" / bundle / "configs" / "train.json"
    parser = initialized(bundle, "train", recommended).parser
    assert parser["max_epochs"] == json.loads(recommended.read_text())["max_epochs"]
    assert parser["small_version"] is None  # whoever follows the advice gets it no more


@pytest.mark.parametrize(("bundle", "workflow"), [case for case in ALL if case[1] != "inference"])
def test_the_multi_gpu_overlays_pass(bundle: str, workflow: str, initialized: Callable[..., ConfigWorkflow]) -> None:
    """They get as far as the ranks, which nobody started."""
    overlay = ROOT / "bundles" / bundle / "configs" / f"multi_gpu_{workflow}.json"
    assert "runs under torchrun" in refused(lambda: initialized(bundle, workflow, overlay))


@pytest.mark.parametrize(
    ("bundle", "workflow", "options", "message"),
    [
        ("mtnet", "train", {"device": "cuda:99"}, "--device cuda:99 names a GPU that is not there"),
        ("mtnet", "inference", {"device": "gpu"}, "--device must be a device such as cpu, cuda or cuda:0, got 'gpu'"),
        ("mtcnn", "train", {"num_workers": "abc"}, "--num_workers must be a whole number of at least 0, got 'abc'"),
        ("mtcnn", "evaluate", {"seed": "x"}, "--seed must be a whole number from 0 to 4294967295, got 'x'"),
        ("e2emtl", "train", {"width": 0}, "--width must be a number above 0, got 0"),
        ("mtmrnet", "train", {"width": "abc"}, "--width must be a number of at least 0.015625, got 'abc'"),
        ("mtnet", "train", {"max_epochs": -1}, "--max_epochs must be a whole number of at least 1, got -1"),
        ("mtnet", "train", {"amp": "maybe"}, "--amp must be True or False, got 'maybe'"),
        ("mtnet", "train", {"amp": 1}, "--amp must be True or False, got 1"),
        ("mtnet", "train", {"image_size": 40}, "--image_size must be a whole number, a multiple of 16, of at least 32"),
        ("mtcnn", "train", {"image_size": 60}, "--image_size must be a multiple of 8"),
        ("mtcnn", "train", {"malignancy": "mode"}, "--malignancy must be mean or median, got 'mode'"),
        ("e2emtl", "train", {"channels": ["ct", "mri"]}, "--channels must be a non-empty list of ct, otsu, slic"),
        (
            "e2emtl",
            "train",
            {"channels": [["ct"]]},
            "--channels must be a non-empty list of ct, otsu, slic, got [['ct']]",
        ),
        ("e2emtl", "train", {"channels": []}, "--channels must be a non-empty list of ct, otsu, slic, got []"),
        ("e2emtl", "train", {"exclude_score": True}, "--exclude_score must be a rating from 1 to 5, or False"),
        ("mtnet", "train", {"encoder_weights": "no.pt"}, "--encoder_weights must be an existing file, or None"),
        ("mtnet", "train", {"output_dir": 5}, "--output_dir must be a path, got 5"),
        ("mtnet", "train", {"hu_window": [3, 1]}, "hu_window must be two numbers"),
        ("mtnet", "train", {"consensus": "most"}, "consensus is a fraction of the readers"),
        ("mtnet", "train", {"fold": 9}, "--fold must be a fold from 0 to 4, or all, got 9"),
        ("mtnet", "train", {"training_folds": [2, "holdout"]}, "--training_folds must be a fold from 0 to 4"),
        (
            "mtnet",
            "train",
            {"training_folds": "$1/0"},
            "--training_folds '$1/0' cannot be evaluated: ZeroDivisionError",
        ),
        ("mtnet", "train", {"validation_fold": 0}, "fold 0 is in two of --fold 0, --validation_fold 0"),
        ("mtnet", "train", {"val_interval": 7, "max_epochs": 5}, "--val_interval 7 is above --max_epochs 5"),
        (
            "mtcnn",
            "train",
            {"val_interval": 2, "train#trainer#max_epochs": 1},
            "--val_interval 2 is above --train#trainer#max_epochs 1",
        ),
        ("mtcnn", "train", {"fold": "all", "validation_fold": 2, "kept_epoch": "last"}, "leave --validation_fold out"),
        ("mtmrnet", "train", {"regression": False, "bidirectional": True}, "bidirectional needs the attribute branch"),
        ("mtnet", "evaluate", {"fold": 7}, "--fold must be a fold from 0 to 4, or holdout, got 7"),
        ("mtnet", "evaluate", {"slices": "all"}, "--slices must be patch or mask, got 'all'"),
        ("mtnet", "inference", {"folds": []}, "--folds must be"),
        ("mtnet", "inference", {"bundle_root": "/nowhere"}, "name the bundle's folder with --bundle_root"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    bundle: str, workflow: str, options: dict[str, object], message: str, initialized: Callable[..., ConfigWorkflow],
    caplog: pytest.LogCaptureFixture, tmp_path: Path,
) -> None:  # fmt: skip
    """Before any nodule is loaded or any file is written."""
    with caplog.at_level("INFO", logger="lung_nodule"):
        assert message in refused(lambda: initialized(bundle, workflow, **options))
    assert "nodules of" not in caplog.text
    assert not (tmp_path / "out").exists()


def test_a_parser_alone_is_checked_as_well(painted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / "mtnet" / "configs" / "train.json")
    parser.update({"dataset_dir": str(painted), "max_epoch": 3})
    assert "--max_epoch " in refused(lambda: parser.get_parsed_content("initialize"))


def test_outside_of_a_configuration_there_is_nothing_to_check() -> None:
    with pytest.raises(RuntimeError, match="read by an expression of a configuration"):
        check_options("mtnet", "train", ROOT / "bundles" / "mtnet")


@pytest.mark.parametrize("folds", [(0, 1, [2, 3, 4]), (4, 0, [2]), (0, 1, 2)])
def test_folds_that_share_none_pass(folds: tuple) -> None:
    test, validation, training = folds
    assert require_folds(test=test, validation=validation, training=training) is None


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ((0, 0, [1, 2]), "fold 0 is in two of --fold 0, --validation_fold 0"),
        ((0, 1, [1, 2]), r"fold 1 is in two of .* --training_folds \[1, 2\]"),
        (("all", 2, [0, 1, 3, 4]), "--fold all trains on every fold: leave --validation_fold out"),
        ((0, None, [1, 2]), "--validation_fold must be a fold"),
    ],
)
def test_folds_that_share_one_are_refused(folds: tuple, message: str) -> None:
    test, validation, training = folds
    with pytest.raises(InputError, match=message):
        require_folds(test=test, validation=validation, training=training, kept_epoch="last")


def references(value: Any, pattern: str, at: str = "") -> set[str]:
    """Ids of a configuration whose text refers to a pattern."""
    if isinstance(value, dict):
        found = [references(item, pattern, f"{at}#{key}" if at else key) for key, item in value.items()]
        return set().union(*found)
    if isinstance(value, list):
        return set().union(*(references(item, pattern, at) for item in value))
    return {at} if isinstance(value, str) and re.search(pattern, value) else set()


@pytest.mark.parametrize("bundle", OF_BUNDLE)
def test_everything_that_depends_on_the_epochs_follows_monai_s_own_id(bundle: str) -> None:
    """`train#trainer#max_epochs` is MONAI's property `max_epochs`: a schedule that read the option would not follow."""
    defaults = {"segmentation_max_epochs", "classifier_max_epochs"} if bundle == "mtnet" else set()
    found = references(shipped(bundle, "train"), r"@(classifier_)?max_epochs\b")
    assert found == {"train#trainer#max_epochs"} | defaults


def test_a_stage_without_a_validation_is_refused() -> None:
    require_validation(val_interval=5, segmentation_max_epochs=5, classifier_max_epochs=7)
    with pytest.raises(InputError, match="--val_interval 6 is above --segmentation_max_epochs 5"):
        require_validation(val_interval=6, classifier_max_epochs=7, segmentation_max_epochs=5)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (whole(), [1, 7], [0, 1.5, True, "many", None]),
        (whole(least=32, multiple_of=16), [32, 48], [16, 40, 0]),
        (whole(least=0, most=4), [0, 4], [-1, 5]),
        (POSITIVE, [64, 1e-4], [0, -1.0, float("nan"), float("inf"), True, "x", None]),
        (SHARE, [0, 0.5, 1.0], [-0.1, 1.1, "half", False]),
        (FLAG, [True, False], [0, 1, "True", None]),
        (fold_of(5), [0, 4], [5, True, "0", "holdout"]),
        (folds(evaluated_fold_of(5)), [0, [1, 2], (3,), "holdout", [0, "holdout"]], [[], 5, "x", [0, 5], None]),
        (PATH, ["x", Path("x")], ["", " ", 5, None, True]),
        (DEVICE, ["cpu"], ["gpu", 3.5, None, "meta"]),
    ],
)
def test_kinds(kind: Any, good: list[object], bad: list[object]) -> None:
    for value in good:
        kind.check("option", value)
        kind.or_none().check("option", value)
    kind.or_none().check("option", None)
    for value in bad:
        with pytest.raises(InputError, match=r"--option must be .*, got"):
            kind.check("option", value)


@pytest.mark.parametrize("bundle", OF_BUNDLE)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodules": True}, "--nodules must be a path, or None, got True"),
        ({"ct": ""}, "--ct must be a path, or None, got ''"),
        ({"series_uid": 1.2}, "--series_uid must be text, or None, got 1.2"),
        ({"nodule": "t.csv"}, "unknown option --nodule (did you mean --nodules?)"),
    ],
)
def test_a_users_ct_and_centres_are_options(
    bundle: str, options: dict[str, object], message: str, initialized: Callable[..., ConfigWorkflow]
) -> None:
    assert refused(lambda: initialized(bundle, "inference", **options)) == message
    initialized(bundle, "inference", nodules="t.csv", ct="scan.nii.gz", patient_id=306, series_uid="1.2.3")
