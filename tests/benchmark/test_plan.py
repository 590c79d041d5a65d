"""The commands of a cell, the benchmark's own options, and its arguments."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from lung_nodule.__main__ import main
from lung_nodule.benchmark import arguments
from lung_nodule.benchmark.cells.plan import ROOT, as_arguments, configurations, read_options, trained_cells
from lung_nodule.errors import InputError


def test_a_cells_commands(tmp_path: Path) -> None:
    (cell,) = trained_cells(
        ["mtnet"], seeds=1, folds=[3], dataset_dir=tmp_path / "data", out=tmp_path, fingerprint="f", options={}
    )
    training, test, validation = (list(step.arguments) for step in cell.steps)
    assert cell.folder == tmp_path / "cells" / "mtnet" / "seed0" / "fold3"
    assert training[0] == "training"
    assert training[2] == str([f"bundles/mtnet/configs/{name}" for name in configurations("mtnet")])
    assert training[training.index("--fold") + 1] == "3"
    assert training[training.index("--output_dir") + 1] == str(cell.folder)
    for command, split in ((test, "test"), (validation, "validation")):
        assert command[command.index("--split") + 1] == split
        assert command[command.index("--results_dir") + 1] == str(cell.folder / split)
        assert command[command.index("--model_path") + 1] == str(cell.folder / "model.pt")


def test_a_trainings_options_are_the_last_of_its_files(tmp_path: Path) -> None:
    """As MONAI reads them, null and one value of a nested entry included; the command line would lose the null."""
    options = {"average_decay": None, "flips": False, "hu_window": [-900, 300], "train#directory": "elsewhere"}
    (cell,) = trained_cells(
        ["mtnet"], seeds=1, folds=[3], dataset_dir=tmp_path, out=tmp_path, fingerprint="f", options={"mtnet": options}
    )
    assert cell.made_with["options"] == options
    assert not list(tmp_path.iterdir()), "nothing is written before the cell is run"
    cell.folder.mkdir(parents=True)
    cell.begin()
    arguments = cell.steps[0].arguments
    files = ast.literal_eval(arguments[arguments.index("--config_file") + 1])
    read, without = (ConfigParser(ConfigParser.load_config_files([ROOT / file for file in some])) for some in (
        files, files[:-1]
    ))  # fmt: skip
    assert {name: read[name] for name in options} == options
    assert without["average_decay"] == 0.99
    assert read["train#stage"] == without["train#stage"]


def test_seeds_come_one_after_the_other(tmp_path: Path) -> None:
    cells = trained_cells(
        ["mtnet", "mtcnn"], seeds=2, folds=[0, 1], dataset_dir=tmp_path, out=tmp_path, fingerprint="f", options={}
    )
    assert [cell.seed for cell in cells] == [0] * 4 + [1] * 4
    assert len({cell.folder for cell in cells}) == 8


def test_the_recommended_recipe_comes_after_the_published_one() -> None:
    for bundle in ("mtnet", "mtmrnet", "mtcnn", "e2emtl"):
        found = [
            name
            for name in ("train.json", "recommended.json")
            if (ROOT / "bundles" / bundle / "configs" / name).is_file()
        ]
        assert configurations(bundle) == found


def test_options_as_monai_reads_them() -> None:
    got = as_arguments({"a": 1, "b": 0.5, "c": True, "d": "text", "e": ["x", "y"]})
    assert got == ["--a", "1", "--b", "0.5", "--c", "True", "--d", "text", "--e", "['x', 'y']"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "must hold options by bundle"),
        ('{"mtcn": {}}', "names mtcn, which is not benchmarked"),
        ('{"mtcnn": {"fold": 1}}', "sets fold of mtcnn, which the benchmark sets itself"),
        (
            '{"mtcnn": {"min_readers": 1}}',
            "sets min_readers of mtcnn, but all methods are compared on the same nodules",
        ),
        ('{"mtcnn": {"max_slice_thickness_mm": 5}}', "sets max_slice_thickness_mm of mtcnn"),
        ('{"mtcnn": {"cohort#min_readers": 1}}', "sets cohort#min_readers of mtcnn"),
        ('{"mtcnn": {"task": "nodule"}}', "sets task of mtcnn, but all methods are compared on the same nodules"),
        (
            '{"mtcnn": {"consensus": "all"}}',
            "sets consensus of mtcnn, but all methods are",
        ),
        ('{"mtcnn": {"max_epochs": 1, "validation_fold": 3}}', "sets validation_fold of mtcnn"),
        ('{"mtcnn": {"training_folds": [1]}}', "sets training_folds of mtcnn"),
    ],
)
def test_options_that_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "options.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_options(tmp_path / "options.json", ["mtcnn"])


def test_options_by_bundle(tmp_path: Path) -> None:
    (tmp_path / "options.json").write_text(json.dumps({"mtcnn": {"max_epochs": 2}}))
    assert read_options(tmp_path / "options.json", ["mtcnn"]) == {"mtcnn": {"max_epochs": 2}}
    assert read_options(None, ["mtcnn"]) == {}


def test_folds() -> None:
    assert arguments.tested_folds(5) == [0, 1, 2, 3, 4]
    assert arguments.tested_folds(2) == [0, 1]
    assert arguments.tested_folds((3,)) == [3]
    assert arguments.tested_folds("0,4") == [0, 4]
    for wrong in (0, 6, (5,), "a", True, (), "1.5", (1.0, 2), (True, 2)):
        with pytest.raises(InputError, match="--folds must be a number of folds"):
            arguments.tested_folds(wrong)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--weights", "w"], "--weights goes with --evaluate_only"),
        (["--fit_dir", "d"], "--fit_dir goes with --evaluate_only"),
        (["--min_readers", "1"], "--min_readers goes with --evaluate_only"),
        (["--evaluate_only", "--min_readers", "0"], "--min_readers must be a whole number of at least 1"),
        (["--evaluate_only", "--options", "o.json"], "leave it out with --evaluate_only"),
        (["--seeds", "0"], "--seeds must be a whole number of at least 1"),
        (["--folds", "7"], "--folds must be a number of folds (1 to 5) or fold numbers (0 to 4)"),
        (["--processes", "none"], "--processes must be a whole number"),
    ],
)
def test_arguments_that_do_not_go_together(
    flags: list[str], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["benchmark", "--dataset_dir", "d", "--out", str(tmp_path / "out"), *flags]) == 2
    assert message in caplog.messages[-1]
    assert not (tmp_path / "out").exists()
