"""Work that is interrupted: killed runs, killed workers, damaged files, refusals of earlier runs."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lung_nodule.errors import InputError
from lung_nodule.runtime.lock import only_writer
from lung_nodule.runtime.progress_bar import progress
from preprocessing.__main__ import main
from preprocessing.convert import workers
from preprocessing.convert.conversion import convert, plan
from preprocessing.convert.layouts import locate
from preprocessing.convert.scan_task import ScanTask, SkippedScan
from preprocessing.convert.skipped import read_skipped, write_skipped
from preprocessing.convert.workers import attempt, in_processes
from preprocessing.dataset import ConversionSettings, scan_records, verify
from preprocessing.dataset.manifest import read_manifest
from tests.preprocessing.conftest import SEVERAL, SMALL
from tests.slow import slow_except

REPOSITORY = Path(__file__).resolve().parents[3]
SETTINGS = ConversionSettings(margin_mm=5.0)


def size_and_time(dataset: Path, patient: str) -> dict[Path, tuple[int, int]]:
    """Inode and time of a patient's files: a file that was written again has others."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in dataset.glob(f"*/{patient}_*")}


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


@pytest.mark.slow
def test_a_run_killed_with_sigkill_is_taken_up(
    several_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9 of the run: its processes end, finished scans are kept, half-written files are removed."""
    out = tmp_path / "out"
    arguments = ["convert", "--dicom_root", str(several_root), "--out", str(out), "--margin_mm", "5"]
    command = [sys.executable, "-m", "preprocessing", *arguments, "--workers", "2"]
    first = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    wait_for(lambda: list((out / "scans").glob("*.json")))
    processes = children(first.pid)
    first.kill()
    first.wait()
    wait_for(lambda: not any(map(is_alive, processes)))
    assert len(processes) >= 2
    assert not (out / "MANIFEST.sha256").exists()
    finished = [path.stem.split("_")[0] for path in (out / "scans").glob("*.json")]
    assert 0 < len(finished) < len(SEVERAL)
    kept = {patient: size_and_time(out, patient) for patient in finished}
    (other,) = [patient for patient in SEVERAL if patient not in finished][:1]
    (out / "scans" / f"{other}_s0_ct.nii.gz").write_bytes(b"whole name, no record")
    (out / "scans" / f".{other}_s0_ct.0123456789ab.nii.gz").write_bytes(b"half")

    with caplog.at_level(logging.INFO):
        assert main(arguments) == 0
    assert f"{len(finished)} of {len(SEVERAL)} scans are already finished" in caplog.messages
    assert len(caplog.messages) < 6, "no flood of progress lines in a log"
    assert "\r" not in capsys.readouterr().err
    assert {patient: size_and_time(out, patient) for patient in finished} == kept
    assert verify(out) == []
    assert sorted(pd.read_csv(out / "scans.csv")["patient_id"]) == SEVERAL


def test_a_finished_scan_is_known_without_reading_its_files(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(small_dataset, out)
    record = out / "scans" / f"{SMALL}_s0.json"
    os.utime(record, ns=(time.time_ns(), time.time_ns()))
    read = []
    monkeypatch.setattr(scan_records, "file_sha256", lambda path: read.append(path) or "")
    assert scan_records.finished_record(out, record) is not None
    assert read == []


def test_files_younger_than_the_record_are_trusted_by_checksum_only(small_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(small_dataset, out)
    record = out / "scans" / f"{SMALL}_s0.json"
    for path in out.glob("*/*.nii.gz"):
        path.touch()
    assert scan_records.finished_record(out, record) is not None
    label_map = out / "scans" / f"{SMALL}_s0_nodules.nii.gz"
    content = bytearray(label_map.read_bytes())
    content[len(content) // 2] ^= 1
    label_map.write_bytes(content)
    assert scan_records.finished_record(out, record) is None


OF_OTHER_KINDS = b'{"settings": null, "scan": null, "nodules": [], "annotations": [], "files": []}'


@pytest.mark.parametrize("damage", slow_except({b"{"}, [b"", b"{", b"[]", b'{"scan": {}}', OF_OTHER_KINDS]))
def test_a_scan_with_a_broken_record_is_redone(
    damage: bytes, small_root: Path, small_dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(small_dataset, out)
    (out / "scans" / f"{SMALL}_s0.json").write_bytes(damage)
    assert convert(small_root, out, patients=None, workers=1, settings=ConversionSettings()) == []
    assert read_manifest(out) == read_manifest(small_dataset)


class Deadly(ScanTask):
    """A scan that kills the process that converts it, as the kernel does when memory runs out."""

    @property
    def record_path(self) -> Path:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_a_scan_that_kills_its_process_is_refused_and_the_others_are_converted(
    several_root: Path, tmp_path: Path
) -> None:
    dead, alive = plan(locate(several_root, SEVERAL[:2]), tmp_path / "out", SETTINGS)
    dead = Deadly(dead.scan, dead.sources, dead.out, dead.settings)
    (refused,) = [outcome for outcome in in_processes([dead, alive], 2) if outcome is not None]
    assert refused.scan.name == dead.scan.name
    assert "killed twice (out of memory?)" in refused.reason
    assert [path.stem for path in (tmp_path / "out" / "scans").glob("*.json")] == [alive.scan.name]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "not enough memory: run again with fewer --workers"),
        (OSError(errno.EIO, "Input/output error", "a.dcm"), "Input/output error: a.dcm"),
        (ZeroDivisionError("two\nlines"), "unexpected ZeroDivisionError at test_resume.py:"),
    ],
)
def test_whatever_goes_wrong_with_a_scan_becomes_one_line(
    error: Exception, line: str, small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(task: ScanTask) -> None:
        raise error

    (task,) = plan(locate(small_root), tmp_path, SETTINGS)
    monkeypatch.setattr(workers, "convert_scan", fail)
    refused = attempt(task)
    assert refused.reason.startswith(line)
    assert "\n" not in refused.reason


def test_a_full_disk_ends_the_run(small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(task: ScanTask) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "a.nii.gz")

    (task,) = plan(locate(small_root), tmp_path, SETTINGS)
    monkeypatch.setattr(workers, "convert_scan", fail)
    with pytest.raises(OSError, match="No space left"):
        attempt(task)


def without_a_slice(root: Path, patient: str, target: Path) -> Path:
    """A patient's folder as links, the tenth file left out."""
    folder = target / patient / "s"
    folder.mkdir(parents=True)
    for path in sorted((root / patient).rglob("*.dcm")):
        if path.name != "000010.dcm":
            (folder / path.name).symlink_to(path.resolve())
    return target


def test_refusals_stay_listed_until_the_scan_is_converted(
    several_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patient, out = SEVERAL[1], tmp_path / "out"
    broken = without_a_slice(several_root, patient, tmp_path / "broken")
    with pytest.raises(InputError, match="none of the 1 scans"):
        convert(broken, out, patients=None, workers=1, settings=SETTINGS)
    convert(several_root, out, patients=SEVERAL[2:], workers=1, settings=SETTINGS)
    assert read_skipped(out)["patient_id"].tolist() == [patient]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        refused = convert(broken, out, patients=[patient], workers=1, settings=SETTINGS)
    assert [item.scan.patient_id for item in refused] == [patient]
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith(f"skipped {patient}_s0: missing slices at z = ")
    assert messages[1:] == [f"skipped 1 of 1 scans: {out / 'skipped.csv'} says why"]
    assert verify(out) == []
    assert convert(several_root, out, patients=[patient], workers=1, settings=SETTINGS) == []
    assert read_skipped(out).empty


def test_a_scan_that_is_refused_after_it_was_converted_leaves_nothing_behind(
    several_root: Path, tmp_path: Path
) -> None:
    patient, out = SEVERAL[1], tmp_path / "out"
    convert(several_root, out, patients=SEVERAL[1:], workers=1, settings=SETTINGS)
    (out / "scans" / f"{patient}_s0_ct.nii.gz").write_bytes(b"damaged")
    broken = without_a_slice(several_root, patient, tmp_path / "broken")
    assert len(convert(broken, out, patients=None, workers=1, settings=SETTINGS)) == 1
    assert list(out.glob(f"*/{patient}*")) == []
    assert verify(out) == []


def test_a_damaged_skipped_csv_is_reported_before_the_work(small_root: Path, tmp_path: Path) -> None:
    (tmp_path / "skipped.csv").write_text("")
    with pytest.raises(InputError, match=r"cannot read .*skipped\.csv as a table"):
        convert(small_root, tmp_path, patients=None, workers=1, settings=SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["skipped.csv"]


def test_a_new_reason_replaces_the_old_one(small_root: Path, tmp_path: Path) -> None:
    (task,) = plan(locate(small_root), tmp_path, SETTINGS)
    other = replace(task.scan, patient_id="LIDC-IDRI-0208")
    write_skipped(tmp_path, [SkippedScan(task.scan, "first"), SkippedScan(other, "other, with a comma")])
    write_skipped(tmp_path, [SkippedScan(task.scan, "second")])
    reasons = read_skipped(tmp_path).set_index("scan")["reason"].to_dict()
    assert reasons == {f"{SMALL}_s0": "second", "LIDC-IDRI-0208_s0": "other, with a comma"}
    write_skipped(tmp_path, [], finished={f"{SMALL}_s0"})
    assert read_skipped(tmp_path)["scan"].tolist() == ["LIDC-IDRI-0208_s0"]


def test_one_run_at_a_time(small_root: Path, tmp_path: Path) -> None:
    with only_writer(tmp_path / "out"), pytest.raises(InputError, match="another run is writing to"):
        convert(small_root, tmp_path / "out", patients=None, workers=1, settings=SETTINGS)
    with only_writer(tmp_path / "out"):
        pass


def test_a_folder_that_was_made_for_nothing_goes_and_any_other_stays(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for name in ("old", "new/out", "filled/out"):
        with only_writer(tmp_path / name):
            if name == "filled/out":
                (tmp_path / name / "file").touch()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        *("filled", "filled/out", "filled/out/file", "old"),
    ]


def test_progress_in_a_log_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 4000, 10))  # ten seconds a scan
    monkeypatch.setattr("lung_nodule.runtime.progress_bar.time.monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO), progress(60, description="convert", unit="scan") as step:
        for _ in range(60):
            step()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 10
    assert messages[0] == "convert: 6 of 60 scans, 10.0 s each, about 9 min left"
