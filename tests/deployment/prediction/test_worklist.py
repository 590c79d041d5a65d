"""Many CTs in one call, with hand-made answers in place of a server's."""

from __future__ import annotations

import csv
import errno
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
import pytest

from lung_nodule import __main__
from lung_nodule.deployment.prediction import predict_worklist, results
from lung_nodule.deployment.prediction.case import Case, PredictionOptions
from lung_nodule.deployment.prediction.worklist import SUMMARY, read_worklist
from lung_nodule.errors import InputError
from tests.deployment.hand_made import FRAME, HandMadeAnswers
from tests.user_ct import CENTERS, write_centers, write_ct, write_dicom

OUTSIDE = [[500.0, 0.0, 0.0]]


def write_list(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a CT of each kind, nodules and a list of all."""
    folder = tmp_path / "work"
    write_ct(folder / "cts" / "scan.nii.gz")
    dicom = write_dicom(folder / "cts" / "series", extra=FRAME)
    with zipfile.ZipFile(folder / "cts" / "zipped.zip", "w") as file:
        for path in dicom.iterdir():
            file.write(path, f"DICOM/{path.name}")
    write_centers(folder / "nodules.csv", CENTERS[:1])
    rows = [{"ct": f"cts/{name}", "nodules": "nodules.csv"} for name in ("scan.nii.gz", "series", "zipped.zip")]
    write_list(folder / "cases.csv", rows)
    return folder


@pytest.fixture(autouse=True)
def _short_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take a second each, and are not the point here."""
    monkeypatch.setattr(results, "write_report", lambda path, *_, **__: path.write_text("pictures"))


def run(work: Path, out: Path, *, url: str = "any", name: str = "cases.csv", **options: Any) -> int:
    chosen = PredictionOptions(**options)
    return predict_worklist.predict_worklist(worklist=work / name, out=out, url=url, options=chosen)


def summary(out: Path) -> dict[str, str]:
    with (out / SUMMARY).open(newline="") as file:
        return {row["name"]: row["status"] for row in csv.DictReader(file)}


def test_the_summary_has_the_warnings_of_the_reports(tmp_path: Path, answered: list[str]) -> None:
    """A series without a frame of reference gets no DICOM results."""
    write_dicom(tmp_path / "ct")
    write_centers(tmp_path / "nodules.csv")
    write_list(tmp_path / "cases.csv", [{"ct": "ct", "nodules": "nodules.csv"}])
    for status in ("done", "skipped"):
        assert run(tmp_path, tmp_path / "out") == 0
        table = pd.read_csv(tmp_path / "out" / SUMMARY)
        assert table["status"].tolist() == [status]
        assert "nodules_seg.dcm and nodules_sr.dcm are not written" in table["warnings"][0]


def test_every_case_is_predicted_into_its_folder_and_once(work: Path, tmp_path: Path, answered: list[str]) -> None:
    """A second run asks nothing, whatever the files of a series are called; a changed input is asked again."""
    out = tmp_path / "out"
    assert run(work, out) == 0
    assert summary(out) == dict.fromkeys(("scan", "series", "zipped"), "done")
    tables = [pd.read_csv(out / name / "nodules.csv") for name in ("scan", "series", "zipped")]
    assert [len(table) for table in tables] == [1, 1, 1]
    pd.testing.assert_frame_equal(tables[1], tables[2])
    records = [json.loads((out / name / "nodules.json").read_text()) for name in ("series", "zipped")]
    assert records[0]["inputs"]["ct"]["series_uid"] == records[1]["inputs"]["ct"]["series_uid"]
    assert records[1]["inputs"]["ct"]["name"] == "zipped.zip"
    for record in records:
        assert {"nodules_seg.dcm", "nodules_sr.dcm", "masks/nodule_0.nii.gz"} <= set(record["files"])

    (work / "cts" / "series" / "000001.dcm").rename(work / "cts" / "series" / "z.dcm")
    answered.clear()
    assert run(work, out) == 0
    assert summary(out) == dict.fromkeys(("scan", "series", "zipped"), "skipped")
    assert answered == []

    slice_ = pydicom.dcmread(work / "cts" / "series" / "z.dcm")
    slice_.PixelData = bytes(len(slice_.PixelData))
    slice_.save_as(work / "cts" / "series" / "z.dcm")
    assert run(work, out) == 0
    assert summary(out) == {"scan": "skipped", "series": "done", "zipped": "skipped"}


CHANGES = {
    "the nodules": lambda work, _: write_centers(work / "nodules.csv", CENTERS[1:]),
    "the CT": lambda work, _: write_ct(work / "cts" / "scan.nii.gz", seed=1),
    "a mask is gone": lambda _, folder: (folder / "masks" / "nodule_0.nii.gz").unlink(),
    "nodules.json is cut short": lambda _, folder: (folder / "nodules.json").write_text('{"model": {'),
    "nodules.json is gone": lambda _, folder: (folder / "nodules.json").unlink(),
}


@pytest.fixture
def one(work: Path) -> Path:
    write_list(work / "cases.csv", [{"ct": "cts/scan.nii.gz", "nodules": "nodules.csv"}])
    return work


def test_what_has_changed_is_predicted_again(
    one: Path, tmp_path: Path, answered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs, outputs, options and the model."""
    out = tmp_path / "out"
    run(one, out)
    for name, change in CHANGES.items():
        change(one, out / "scan")
        answered.clear()
        run(one, out)
        assert summary(out) == {"scan": "done"}, name
        assert len(answered) == 1, name
    options: list[dict[str, str | float | bool]] = [{"note": "synthetic"}, {"threshold": 0.25}]
    for changed in options:
        run(one, out, **changed)
        assert summary(out) == {"scan": "done"}, changed
    run(one, out, **options[-1])
    assert summary(out) == {"scan": "skipped"}
    first = HandMadeAnswers.describe
    other = {"weights_sha256": "another"}
    monkeypatch.setattr(HandMadeAnswers, "describe", lambda self, **_: _with(first(self), other))
    run(one, out, **options[-1])
    assert summary(out) == {"scan": "done"}


@pytest.mark.usefixtures("answered")
def test_a_model_exported_while_it_answers_fails_the_case(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights and the patients that it has seen would be those of another model; the next case gets the new one."""
    write_list(one / "cases.csv", [{"ct": "cts/scan.nii.gz", "nodules": "nodules.csv", "name": n} for n in "ab"])
    first, ask, version = HandMadeAnswers.describe, HandMadeAnswers.ask, ["old"]

    def exported_while_asked(self: HandMadeAnswers, *given: Any) -> Any:
        yield from ask(self, *given)
        version[0] = "new"

    monkeypatch.setattr(
        HandMadeAnswers, "describe", lambda self, **_: _with(first(self), {"weights_sha256": version[0]})
    )
    monkeypatch.setattr(HandMadeAnswers, "ask", exported_while_asked)
    assert run(one, tmp_path / "out") == 1
    assert summary(tmp_path / "out") == {"a": "failed", "b": "done"}
    assert "the server was given other models while it answered" in (tmp_path / "out" / SUMMARY).read_text()
    record = json.loads((tmp_path / "out" / "b" / "nodules.json").read_text())
    assert record["model"]["weights_sha256"] == ["new"]
    assert run(one, tmp_path / "out") == 0
    assert summary(tmp_path / "out") == {"a": "done", "b": "skipped"}


def _with(served: object, parameters: dict[str, str]) -> object:
    return type(served)(**{**vars(served), "parameters": parameters})


@pytest.mark.usefixtures("answered")
def test_a_half_written_folder_is_not_complete(one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where an earlier run has completed it: a full disk while the report is written."""
    out = tmp_path / "out"
    run(one, out)
    write_centers(one / "nodules.csv", CENTERS[1:])

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(results, "write_report", full)
        assert run(one, out) == 1
    assert "No space left on device" in (out / SUMMARY).read_text()
    write_centers(one / "nodules.csv", CENTERS[:1])  # as the first, complete run had it
    assert not (out / "scan" / "nodules.json").exists()
    assert not (out / "scan" / "report.html").exists(), "of other nodules"
    assert run(one, out) == 0
    assert summary(out) == {"scan": "done"}


def test_what_fails_does_not_stop_the_rest(work: Path, tmp_path: Path, answered: list[str], caplog) -> None:
    write_centers(work / "outside.csv", OUTSIDE)
    (work / "cts" / "broken.zip").write_bytes(b"PK")
    rows = [
        {"ct": "cts/broken.zip", "nodules": "nodules.csv", "name": "first"},
        {"ct": "cts/scan.nii.gz", "nodules": "outside.csv", "name": "second"},
        {"ct": "cts/scan.nii.gz", "nodules": "nodules.csv", "name": "007"},
    ]
    out = tmp_path / "out"
    assert run(work, out, name=write_list(work / "cases.csv", rows).name) == 2
    assert summary(out) == {"first": "failed", "second": "failed", "007": "done"}
    table = pd.read_csv(out / SUMMARY, dtype=str, keep_default_na=False)
    assert "broken.zip is not a zip file, or is damaged" in table["error"][0]
    assert "lies outside the CT" in table["error"][1]
    assert table["error"][2] == ""
    assert answered == ["nodule_0"]
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 2
    assert not (out / "first").exists()


@pytest.mark.usefixtures("answered")
def test_an_interrupted_run_says_what_it_has_not_reached(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, ask = tmp_path / "out", predict_worklist.predict_case

    def interrupted(client: object, case: Case, folder: Path) -> object:
        if folder.name == "series":
            raise KeyboardInterrupt
        return ask(client, case, folder)  # pyright: ignore

    with monkeypatch.context() as patched:
        patched.setattr(predict_worklist, "predict_case", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(work, out)
    assert summary(out) == {"scan": "done", "series": "not reached", "zipped": "not reached"}
    run(work, out)
    assert summary(out) == {"scan": "skipped", "series": "done", "zipped": "done"}


def test_all_problems_are_found_before_the_first_request(work: Path, tmp_path: Path, answered: list[str]) -> None:
    rows = [
        {"ct": "cts/scan.nii.gz", "nodules": "nodules.csv", "name": "a", "accession": "1"},
        {"ct": "cts/none.nii.gz", "nodules": "nodules.csv", "name": "a", "accession": "2"},
        {"ct": "", "nodules": "none.csv", "name": "../b", "accession": "3"},
    ]
    write_list(work / "cases.csv", rows)
    with pytest.raises(InputError) as caught:
        run(work, tmp_path / "out")
    said = str(caught.value)
    assert said.startswith(f"worklist {work / 'cases.csv'}: ")
    for problem in (
        "unknown column accession (it may have ct, nodules, name, patient_id, series_uid)",
        f"line 3: no such ct: {work}/cts/none.nii.gz",
        "line 4 has no ct",
        f"line 4: no such nodules: {work}/none.csv",
        "line 4: the name '../b' cannot name a folder",
        "line 2 and line 3 have the name a",
    ):
        assert problem in said
    assert "\n" not in said
    assert answered == []
    assert not (tmp_path / "out").exists()


BAD_LISTS = {
    "no row": ("ct,nodules\n", "it has no rows"),
    "no column": ("ct\ncts/scan.nii.gz\n", "line 2 has no nodules"),
    "semicolons": ("ct;nodules\na;b\n", "unknown column ct;nodules"),
    "a cell too many": ("ct,nodules\na,b,c\n", "line 2 has 3 cells, the header 2"),
    "a column twice": ("ct,ct,nodules\na,b,c\n", "its header names a column twice"),
    "an open quote": ('ct,nodules\n"a,b\n', "cannot read the worklist"),
    "latin-1": ("ct,nodules\n\xe4,b\n", "cannot read the worklist"),
    "two of one name": ("ct,nodules\ncts/scan.nii,n\ncts/scan.zip,n\n", "line 2 and line 3 have the name scan"),
    "the summary's name": ("ct,nodules,name\ncts,nodules.csv,worklist.csv\n", "the name 'worklist.csv' cannot name"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_bad_list_is_one_line(case: str, work: Path) -> None:
    text, message = BAD_LISTS[case]
    (work / "cases.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message) as caught:
        read_worklist(work / "cases.csv")
    assert "\n" not in str(caught.value)


def test_a_list_may_be_json_and_written_by_a_spreadsheet(work: Path, tmp_path: Path) -> None:
    """Text stays text; an empty cell is none; paths are relative to the list or absolute."""
    shutil.copy(work / "nodules.csv", tmp_path / "elsewhere.csv")
    entry = {"ct": "cts/series", "nodules": str(tmp_path / "elsewhere.csv"), "name": "a", "patient_id": 306}
    (work / "cases.json").write_text(json.dumps([entry, {"ct": "cts/scan.nii.gz", "nodules": "nodules.csv"}]))
    lines = ["name,ct,nodules,patient_id,series_uid", f"0306, cts/series ,{tmp_path}/elsewhere.csv,0306,", "", ""]
    (work / "cases.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    ct, nodules = work / "cts" / "series", tmp_path / "elsewhere.csv"
    noted = PredictionOptions(note="n")
    wanted = Case(ct, nodules, patient_id="0306", options=noted)
    assert read_worklist(work / "cases.csv", noted) == {"0306": wanted}
    scan = Case(work / "cts" / "scan.nii.gz", work / "nodules.csv")
    assert read_worklist(work / "cases.json") == {"a": Case(ct, nodules, patient_id="306"), "scan": scan}


@pytest.mark.usefixtures("answered")
def test_the_command_ends_with_what_became_of_it(one: Path, tmp_path: Path, monkeypatch, caplog) -> None:
    """0 where all was done, 1 where a case failed, 2 where nothing could be tried."""
    monkeypatch.setattr(__main__.signal, "signal", lambda *_: None)
    command = ["predict", f"--worklist={one / 'cases.csv'}"]
    out = f"--out={tmp_path / 'out'}"
    assert __main__.main([*command, out]) == 0
    write_centers(one / "nodules.csv", OUTSIDE)
    assert __main__.main([*command, out]) == 1
    (one / "nodules.csv").unlink()
    assert __main__.main([*command, out]) == 2
    for wrong, said in {
        (): "--out needs a path",
        (out, "--ct=a"): "--worklist names each case's ct, nodules, patient_id, series_uid in its columns",
        (f"--out={one}",): "worklist",
    }.items():
        assert __main__.main([*command, *wrong]) == 2
        assert said in caplog.text
    assert __main__.main(["predict", "--ct=a", out]) == 2
    assert "--nodules needs a path" in caplog.text


@pytest.mark.usefixtures("answered")
def test_the_list_itself_is_not_replaced_by_the_summary(one: Path) -> None:
    (one / "cases.csv").rename(one / SUMMARY)
    with pytest.raises(InputError, match=r"worklist\.csv would be overwritten by the results: name another"):
        run(one, one, name=SUMMARY)
    assert (one / SUMMARY).read_text().startswith("ct,nodules")
