"""What a stage is resumed with: every option of a bundle, or a reason why one does not matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser

from lung_nodule.errors import InputError, user_error
from lung_nodule.io import file_sha256
from lung_nodule.training import StageCheckpoints, resume_settings
from lung_nodule.training.checkpoints import training_record
from lung_nodule.training.options.option_table import OF_BUNDLE, kinds_of
from lung_nodule.training.resume import NOT_COMPARED, OF_STAGE, WEIGHT_FILES

ROOT = Path(__file__).parents[2]
STAGES = {
    "mtnet": ("coarse#settings", "fine#settings", "train#stage#settings"),
    **dict.fromkeys(("mtmrnet", "mtcnn", "e2emtl"), ("train#stage#settings",)),
}
OTHER: dict[str, Any] = {
    "consensus": 0.75, "hu_window": [-900.0, 300.0], "spline_order": 1, "crop": "nodule",
    "rank_pairs": "all", "norm": "instance", "channels": ["ct"], "malignancy_loss": "bce", "mask_loss": "dice_bce",
    "kept_epoch": "last", "average_decay": 0.9,
}  # fmt: skip
"""Another value of an option that is neither a number nor a flag."""


def shipped(bundle: str) -> dict[str, Any]:
    return json.loads((ROOT / "bundles" / bundle / "configs" / "train.json").read_text())


def settings_of(bundle: str, painted: Path, **options: object) -> list[dict[str, Any]]:
    """The resume settings of every stage of a bundle."""
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / bundle / "configs" / "train.json")
    parser.update({"dataset_dir": str(painted), "device": "cpu", **options})
    return [parser.get_parsed_content(place) for place in STAGES[bundle]]


@pytest.fixture(scope="module")
def as_shipped(painted: Path) -> dict[str, list[dict[str, Any]]]:
    return {bundle: settings_of(bundle, painted) for bundle in OF_BUNDLE}


def reasons(bundle: str) -> dict[str, str]:
    listed = {**NOT_COMPARED["every bundle"], **NOT_COMPARED[bundle]}
    return {name: reason for reason, names in listed.items() for name in names}


@pytest.mark.parametrize("bundle", OF_BUNDLE)
def test_every_option_is_compared_or_has_a_reason(bundle: str, as_shipped: dict[str, list[dict[str, Any]]]) -> None:
    options = kinds_of(bundle, "train").keys() & shipped(bundle).keys()
    compared = {name for settings in as_shipped[bundle] for name in settings}
    assert options <= compared | reasons(bundle).keys()
    assert not compared & reasons(bundle).keys()
    assert compared - options <= {"overrides", "training", "validation", "high_from"}


@pytest.mark.parametrize("bundle", OF_BUNDLE)
def test_what_does_not_matter_is_an_option_of_the_bundle(bundle: str) -> None:
    listed = {name for names in NOT_COMPARED[bundle].values() for name in names}
    listed |= {name for names in OF_STAGE.get(bundle, {}).values() for name in names}
    assert listed <= shipped(bundle).keys()
    known = {name for one in OF_BUNDLE for name in shipped(one)}
    assert {name for names in NOT_COMPARED["every bundle"].values() for name in names} <= known


def compared_options() -> list[tuple[str, str]]:
    return [
        (bundle, name)
        for bundle in OF_BUNDLE
        for name in sorted(kinds_of(bundle, "train").keys() & shipped(bundle).keys() - reasons(bundle).keys())
        if name not in WEIGHT_FILES and name != "task"  # candidates are other data
    ]


@pytest.mark.parametrize(("bundle", "name"), compared_options())
def test_another_value_of_a_compared_option_is_seen(
    bundle: str, name: str, painted: Path, as_shipped: dict[str, list[dict[str, Any]]]
) -> None:
    before = as_shipped[bundle]
    value = next(settings[name] for settings in before if name in settings)
    other = OTHER[name] if name in OTHER else not value if isinstance(value, bool) else value + 1
    after = settings_of(bundle, painted, **{name: other})
    changed = [one[name] == other != two[name] for one, two in zip(after, before, strict=True) if name in one]
    assert changed
    assert all(changed)


def test_a_stage_is_resumed_whatever_another_stage_learns_at(painted: Path) -> None:
    coarse, fine, classifier = settings_of("mtnet", painted, classifier_learning_rate=0.5)
    before = settings_of("mtnet", painted)
    assert [coarse, fine] == before[:2]
    assert classifier["classifier_learning_rate"] == 0.5 != before[2]["classifier_learning_rate"]


@pytest.mark.parametrize(
    ("option", "stages"),
    [
        ("segmentation_batch_size", (True, True, False)),
        ("rank_gamma", (True, True, False)),
        ("rank_k", (True, True, False)),
        ("rank_margin", (True, True, False)),
        ("classifier_batch_size", (False, False, True)),
        ("segmentation#loss#_target_", (True, True, False)),
        ("coarse#val_interval", (False, False, False)),
        ("fine#optimizer#eps", (False, True, False)),
        ("train#lr_scheduler#power", (False, False, True)),
        ("augment#transforms#4#min_zoom", (True, True, True)),
        ("nodules#num_workers", (False, False, False)),
        ("train#trainer#max_epochs", (False, False, False)),
    ],
)
def test_only_the_stages_that_it_concerns_know_a_change(
    option: str, stages: tuple[bool, ...], painted: Path, as_shipped: dict[str, list[dict[str, Any]]]
) -> None:
    after = settings_of("mtnet", painted, **{option: 3})
    assert tuple(one != two for one, two in zip(after, as_shipped["mtnet"], strict=True)) == stages


def test_a_nested_value_in_the_place_of_an_options_is_refused_by_the_stage_too(painted: Path) -> None:
    """``network_def`` passes at the start, as MONAI's ``load`` gives it other values."""
    with pytest.raises(RuntimeError) as raised:
        settings_of("mtmrnet", painted, **{"network_def#dropout": 0.9})
    assert str(user_error(raised.value)) == "--network_def#dropout is set by --dropout: use that"


def keep_one_epoch(folder: Path, settings: dict[str, Any]) -> None:
    """Train or resume a stage of nothing."""
    trainer = Engine(lambda engine, batch: None)
    network = torch.nn.Linear(1, 1)
    StageCheckpoints(directory=folder, network=network, state={}, evaluator=None, settings=settings).attach(trainer)
    trainer.run([0], max_epochs=1)


def test_a_stage_is_resumed_with_its_nested_values_and_refuses_others_by_id(painted: Path, tmp_path: Path) -> None:
    (own,) = settings_of("mtmrnet", painted)
    (half,) = settings_of("mtmrnet", painted, **{"train#lr_scheduler#gamma": 0.5})
    keep_one_epoch(tmp_path / "half", half)
    keep_one_epoch(tmp_path / "half", half)
    recorded = training_record(tmp_path / "half" / "last.pt")["options"]["overrides"]
    assert recorded == {"train#lr_scheduler#gamma": 0.5}
    with pytest.raises(InputError, match=r"trained with overrides=\{'train#lr_scheduler#gamma': 0.5\}, not \{\}"):
        keep_one_epoch(tmp_path / "half", own)
    keep_one_epoch(tmp_path / "own", own)
    with pytest.raises(InputError, match=r"trained with overrides=\{\}, not \{'train#lr_scheduler#gamma': 0.5\}"):
        keep_one_epoch(tmp_path / "own", half)


def test_a_tuple_is_the_list_that_it_was_resumed_from(painted: Path) -> None:
    (as_list,) = settings_of("mtcnn", painted, hu_window=[-1000.0, 400.0])
    (as_tuple,) = settings_of("mtcnn", painted, hu_window=(-1000.0, 400.0))
    assert as_list == as_tuple


def test_other_nodules_are_seen(painted: Path) -> None:
    (before,), (after,) = settings_of("mtcnn", painted), settings_of("mtcnn", painted, training_folds=[2, 3])
    assert {name for name in before if before[name] != after[name]} == {"training"}


def test_a_file_of_weights_is_known_by_its_hash(painted: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"weights")
    (settings,) = settings_of("mtmrnet", painted, trunk_weights=str(tmp_path / "a.pt"))
    assert settings["trunk_weights"] == file_sha256(tmp_path / "a.pt")


def test_outside_of_a_configuration_there_is_nothing_to_collect() -> None:
    with pytest.raises(RuntimeError, match="none is being evaluated"):
        resume_settings("mtnet", "coarse")
