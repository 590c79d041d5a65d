"""The command line: help, one line and exit status 2 for invalid input, and no files written by mistake."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lung_nodule import __main__ as lung_nodule_commands
from lung_nodule.runtime.command_line import names
from preprocessing import __main__ as preprocessing_commands
from preprocessing.__main__ import main
from tests.preprocessing.conftest import SMALL


def status(arguments: list[str]) -> int:
    """Exit status, whether fire or the command gave it."""
    try:
        return main(arguments)
    except SystemExit as error:
        return int(error.code or 0)


COMMANDS = [
    (module, command) for module in (lung_nodule_commands, preprocessing_commands) for command in module.COMMANDS
]


@pytest.mark.parametrize(("module", "command"), COMMANDS, ids=lambda value: getattr(value, "__name__", ""))
def test_help_says_all_that_the_docstring_says(
    module: ModuleType, command: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert module.main([command.__name__, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    arguments = (inspect.getdoc(command) or "").partition("Args:")[2]
    described = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", arguments, re.MULTILINE)
    assert [name for name, _ in described] == list(inspect.signature(command).parameters)
    for name, text in described:
        assert " ".join(text.split()) in shown, f"cut: {name}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convrt"], "there is no command 'convrt' (did you mean convert?): name convert or "),
        (["convert", "--worker", "2"], "unknown option --worker (did you mean --workers?) (see convert --help)"),
        (["convert", "--dicom-rot=x"], "unknown option --dicom_rot (did you mean --dicom_root?) (see convert --help)"),
        (["convert", "--xyz"], "unknown option --xyz (see convert --help)"),
    ],
)
def test_an_unknown_command_or_option_is_named_with_the_nearest(
    arguments: list[str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert status(arguments) == 2
    assert message in caplog.messages[-1]


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"], ["convert", "--out", "x", "--help"]])
def test_help_names_every_flag(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert status(arguments) == 0
    shown = "".join(capsys.readouterr())
    wanted = ["DICOM_ROOT", "--patients", "--workers", "--consensus", "--margin_mm", "whole 80 mm cube"]
    for word in wanted if "convert" in arguments else ["convert", "phantom"]:
        assert word in shown
    assert not any(word in shown for word in ("Optional[", "INFO:", "'str'"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--dicom_root", "{tmp}/absent"], "no such DICOM root: {tmp}/absent"),
        (["--dicom_root", "{tmp}/empty"], "DICOM root {tmp}/empty is empty"),
        (["--dicom_root", "{tmp}/file"], "DICOM root {tmp}/file is a file: give the folder"),
        (["--dicom_root", "{root}", "--patients", "LIDC-IDRI-0208"], "no files for LIDC-IDRI-0208 under {root}"),
        (["--dicom_root", "{root}", "--patients", f"{SMALL},LIDC-IDRI-7777"], "no such patient"),
        (["--dicom_root", "{root}", "--patients", "0208"], "no files for LIDC-IDRI-0208 under {root}"),
        (["--dicom_root", "{root}", "--patients", "78,208"], "no files for LIDC-IDRI-0208 under {root}"),
        (
            ["--dicom_root", "{root}", "--patients", "0078x"],
            "--patients holds a value that is not a patient's name, '0078x'",
        ),
        (["--dicom_root", "{root}", "--patients", "78,7.8"], "not a patient's name, 7.8: give LIDC-IDRI-0306, or 0306"),
        (["--dicom_root", "{root}", "--patients"], "--patients names no patient: give LIDC-IDRI-0306, or 0306 or 306"),
        (["--dicom_root", "{root}", "--workers", "0"], "--workers must be a whole number of at least 1, got 0"),
        (["--dicom_root", "{root}", "--workers", "two"], "--workers must be a whole number of at least 1, got 'two'"),
        (["--dicom_root", "{root}", "--consensus", "1.5"], "--consensus is a fraction of the readers"),
        (["--dicom_root", "{root}", "--margin_mm", "-3"], "--margin_mm is half a cube's edge"),
        (["--dicom_root", "{root}", "--margin_mm", "wide"], "--margin_mm must be a number"),
        (["--dicom_root", "{root}", "--duplicates", "both"], "--duplicates must be refuse, first or last, got 'both'"),
        (["--dicom_root", "{root}", "--scheduler"], "--scheduler needs an address, such as tcp://host:8786"),
        (["--dicom_root"], "--dicom_root needs a path"),
    ],
)
def test_bad_input_gives_one_line_and_status_2(
    arguments: list[str], line: str, tmp_path: Path, small_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    places = {"tmp": tmp_path, "root": small_root}
    given = ["convert", "--out", str(tmp_path / "out"), *(part.format(**places) for part in arguments)]
    with caplog.at_level(logging.INFO):
        assert status(given) == 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert line.format(**places) in message
    assert "\n" not in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file", "file/below"])
@pytest.mark.parametrize(
    "command", [["convert", "--dicom_root", "."], ["cohort", "--preset", "all"], ["phantom", "--patients", SMALL]]
)
def test_an_output_folder_that_is_a_file(
    command: list[str], place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert status([*command, "--out", str(tmp_path / place)]) == 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == f"preprocessing: --out needs a folder, and {tmp_path / 'file'} is a file: give another path"


@pytest.mark.parametrize("extra", [["--bogus", "1"], ["--margin", "3"], ["surplus"], ["3", "0.5", "1", "x", "y", "z"]])
def test_unknown_arguments_are_refused_before_anything_is_done(
    extra: list[str], tmp_path: Path, small_root: Path
) -> None:
    arguments = [
        "convert",
        "--dicom_root",
        str(small_root),
        "--out",
        str(tmp_path / "out"),
        "--patients",
        SMALL,
        *extra,
    ]
    assert status(arguments) == 2
    assert not (tmp_path / "out").exists()


def test_no_command_or_an_unknown_one() -> None:
    assert status([]) == 2
    assert status(["convrt"]) == 2


def test_a_whole_run(tmp_path: Path, small_root: Path) -> None:
    given = ["convert", "--dicom_root", str(small_root), "--out", str(tmp_path / "out"), "--margin_mm", "5"]
    assert status([*given, "--patients", SMALL[-4:]]) == 0
    assert (tmp_path / "out" / "scans" / f"{SMALL}_s0.json").is_file()
    assert (tmp_path / "out" / "MANIFEST.sha256").is_file()


@pytest.mark.parametrize("given", ["78", "0078", "LIDC-IDRI-0078", "lidc-idri-78", "[78]", "0078,78", "78,"])
def test_a_patient_has_short_names(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through fire, which makes a number of 78 and leaves 0078 as text."""
    asked = []
    monkeypatch.setattr("preprocessing.phantom.write_phantom", lambda **flags: asked.append(flags["patients"]))
    assert status(["phantom", "--out", str(tmp_path / "out"), "--patients", given]) == 0
    assert asked == [[SMALL]]


@pytest.mark.parametrize("given", ["none", "default", "default30"])
def test_named_sets_are_no_patients(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("preprocessing.phantom.write_phantom", lambda **flags: asked.append(flags["patients"]))
    assert status(["phantom", "--out", str(tmp_path / "out"), "--patients", given]) == 0
    assert len(asked[0]) == {"none": 0, "default": 10, "default30": 30}[given]


@pytest.mark.parametrize("value", ["a,b", ("a", "b"), ["a", "b", "a"], " a , b,"])
def test_names_come_as_text_or_tuple(value: object) -> None:
    assert names(value, "--patients") == ["a", "b"]
    assert names(None, "--patients") is None


@pytest.mark.parametrize("typed", ["2024_01_05", "1.10", "1e3", "0x10", "data#2", "a,b", "(x)", "[old]", ".5", "007"])
def test_a_path_is_the_one_that_was_typed(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fire reads values as Python literals: 2024_01_05 would be the folder 20240105."""
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "--dataset", typed]) == 2
    assert f"in {typed}: not a dataset" in caplog.messages[-1]
