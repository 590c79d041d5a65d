"""The folder that a conversion writes to: the user's own files are kept, and a full disk loses no finished scan."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import atomic_path, unfinished_writes
from lung_nodule.io.atomic import TEMPORARY
from preprocessing.__main__ import main
from preprocessing.convert import convert
from preprocessing.convert.unfinished import begin, scan_files, unfinished_scans
from preprocessing.dataset import ConversionSettings, verify
from preprocessing.lidc import database
from preprocessing.lidc.records import ScanRecord
from tests.preprocessing.conftest import SEVERAL, SMALL
from tests.slow import slow_except

REPOSITORY = Path(__file__).resolve().parents[3]
SETTINGS = ConversionSettings(margin_mm=5.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def add_own_files(out: Path, scan: ScanRecord) -> dict[str, bytes]:
    """Files that a user may keep beside the dataset's, with names similar to the dataset's."""
    nodule = database.nodules(scan)[0].nodule_id
    names = [
        *(f"voi/{nodule}_pred.nii.gz", f"voi/{nodule}_ct.nii.gz.bak", f"voi/.{nodule}_pred.0123456789ab.nii.gz"),
        *(f"scans/{scan.name}_lungmask.nii.gz", f"scans/{scan.name}_old.unfinished", f"scans/{scan.patient_id}_s1.txt"),
        *(f"qc/{scan.name}_mine.png", "qc/.draft.0123456789ab.png", ".notes.0123456789ab.csv", "predictions.csv"),
    ]
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(name.encode())
    return {name: name.encode() for name in names}


@pytest.mark.slow
def test_a_dataset_s_user_keeps_files_in_it(
    several_root: Path, small_dataset: Path, small_scan: ScanRecord, tmp_path: Path
) -> None:
    """Run again on a finished dataset, with further patients, and over a damaged scan."""
    out = Path(shutil.copytree(small_dataset, tmp_path / "out"))
    own = add_own_files(out, small_scan)
    convert(several_root, out, patients=[SMALL], workers=1, settings=ConversionSettings())
    assert own.items() <= contents(out).items()
    (out / "scans" / f"{SMALL}_s0_ct.nii.gz").write_bytes(b"damaged")
    convert(several_root, out, patients=SEVERAL[:2], workers=1, settings=ConversionSettings())
    assert own.items() <= contents(out).items()
    assert sorted(verify(out)) == sorted(
        f"extra: {name}" + " (left by an interrupted run)" * (TEMPORARY.fullmatch(Path(name).name) is not None)
        for name in own
    )


def test_files_of_a_folder_that_convert_never_made_stay(
    small_root: Path, small_scan: ScanRecord, tmp_path: Path
) -> None:
    own = add_own_files(tmp_path, small_scan)
    assert convert(small_root, tmp_path, patients=None, workers=1, settings=SETTINGS) == []
    assert own.items() <= contents(tmp_path).items()
    assert (tmp_path / "MANIFEST.sha256").is_file()


def test_an_unfinished_scan_s_files_go_by_their_exact_names(
    small_dataset: Path, small_root: Path, tmp_path: Path
) -> None:
    """Another patient's scan was interrupted: all of its files are removed, even if it is not requested."""
    out = Path(shutil.copytree(small_dataset, tmp_path / "out"))
    finished = contents(out)
    (scan,) = database.scans([SEVERAL[1]])
    begin(out, scan)
    for name in scan_files(scan)[:-1]:
        (out / name).write_bytes(b"whole name, no record")
    ct = out / scan_files(scan)[0]
    half = ct.with_name(f".{ct.name.removesuffix('.nii.gz')}.0123456789ab.nii.gz")
    half.write_bytes(b"half")
    (out / ".scans.0123456789ab.csv").write_bytes(b"half")
    own = add_own_files(out, scan)
    convert(small_root, out, patients=None, workers=1, settings=ConversionSettings())
    assert contents(out) == finished | own
    assert unfinished_scans(out) == []


def test_a_scan_cut_off_after_its_record_is_finished(small_dataset: Path, small_root: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small_dataset, tmp_path / "out"))
    begin(out, database.scans([SMALL])[0])
    before = {path: path.stat().st_ino for path in out.glob("*/*_s0*") if path.suffix != ".unfinished"}
    convert(small_root, out, patients=None, workers=1, settings=ConversionSettings())
    assert {path: path.stat().st_ino for path in out.glob("*/*_s0*")} == before
    assert verify(out) == []


def test_the_files_of_a_scan_are_those_that_are_written(small_dataset: Path, small_scan: ScanRecord) -> None:
    written = {str(path.relative_to(small_dataset)) for path in small_dataset.glob("*/*") if path.is_file()}
    assert set(scan_files(small_scan)) == written
    assert scan_files(small_scan)[-1] == f"scans/{SMALL}_s0.json"


def test_only_an_atomic_writer_s_own_temporaries_count(tmp_path: Path) -> None:
    final, other = tmp_path / "a_ct.nii.gz", tmp_path / "b_ct.nii.gz"
    with atomic_path(final) as mine, atomic_path(other) as theirs:
        mine.touch()
        theirs.touch()
        (tmp_path / ".a_ct.nii.gz").touch()
        (tmp_path / ".a_ct.0123456789AB.nii.gz").touch()
        assert unfinished_writes([final]) == [mine]
        assert unfinished_writes([final, other]) == sorted([mine, theirs])


PUBLISHED = '{"name": "LIDC-IDRI nodule VOIs", "layout_version": 1, "nodules": 663}'


@pytest.mark.parametrize(
    "files",
    [
        {"nodules.csv": "id,x\n1,2\n"},
        {"nodules.csv": "nodule_id\nLIDC-IDRI-0078_a0001\n", "dataset.json": PUBLISHED},
        {"dataset.json": "not JSON"},
        {"folds.csv": "patient_id,fold\n", "scans/notes.json": "{}", "scans/mine.unfinished": ""},
        {f"scans/{SMALL}_s0_ct.nii.gz": "mine"},
        {f"scans/{SMALL}_s0.json": '{"my": "notes"}'},
    ],
    ids=["table", "the published layout", "description", "folds", "volume", "record"],
)
def test_somebody_else_s_files_are_not_written_over(
    files: dict[str, str], small_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    assert main(["convert", "--dicom_root", str(small_root), "--out", str(tmp_path), "--margin_mm", "5"]) == 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"preprocessing: {tmp_path} holds ")
    assert next(iter(files)) in message
    assert "which `convert` did not write" in message
    assert contents(tmp_path) == before


@pytest.fixture
def small_disk(small_dataset: Path, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds one scan and a bit."""
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system: the patched writer below tests the same")
    folder = tmp_path / "disk"
    folder.mkdir()
    size = int(1.2 * sum(path.stat().st_size for path in small_dataset.rglob("*") if path.is_file()))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def arguments(root: Path, out: Path) -> list[str]:
    return ["convert", "--dicom_root", str(root), "--out", str(out)]


def files_of_scans(dataset: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(dataset).items() if "/" in name}


def check_full_disk(said: str, out: Path, finished: dict[str, bytes]) -> None:
    """One line that names the folder, the finished scan as it was, and nothing else of any scan."""
    assert said == (
        f"preprocessing: cannot write to {out}: No space left on device; finished scans are kept: make room, then run "
        "the same command again, or give --out on another disk"
    )
    assert files_of_scans(out) == finished
    assert not list(out.rglob(".*"))


def test_a_full_disk(
    small_disk: Path, several_root: Path, small_dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = Path(shutil.copytree(small_dataset, small_disk / "out"))
    finished = files_of_scans(out)
    assert main(arguments(several_root, out)) == 2
    check_full_disk(caplog.messages[-1], out, finished)


@pytest.mark.slow
def test_the_command_line_and_its_processes_on_a_full_disk(
    small_disk: Path, several_root: Path, small_dataset: Path
) -> None:
    out = Path(shutil.copytree(small_dataset, small_disk / "out"))
    finished = files_of_scans(out)
    command = [sys.executable, "-m", "preprocessing", *arguments(several_root, out), "--workers", "2"]
    ended = subprocess.run(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    check_full_disk(ended.stderr.splitlines()[-1], out, finished)


@pytest.mark.parametrize("ending", slow_except({".json"}, ["_soft.nii.gz", ".png", ".json"]))
def test_a_disk_that_is_full_for_one_file(
    ending: str,
    several_root: Path,
    small_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error comes when the file gets its name; then there is room again."""
    replace = os.replace

    def full(source: str, target: str) -> None:
        if SEVERAL[1] in str(target) and str(target).endswith(ending):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    root, out = tmp_path / "root", Path(shutil.copytree(small_dataset, tmp_path / "out"))
    root.mkdir()
    for patient in SEVERAL[:2]:
        (root / patient).symlink_to(several_root / patient)
    finished = files_of_scans(out)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        assert main(arguments(root, out)) == 2
    check_full_disk(caplog.messages[-1], out, finished)
    assert main(arguments(root, out)) == 0
    assert verify(out) == []
    assert finished.items() <= contents(out).items()


@pytest.mark.slow
def test_a_table_that_does_not_fit_is_reported_too(
    small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan is finished, and only the tables are missing."""

    def full(*arguments: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", "scans.parquet")

    monkeypatch.setattr("preprocessing.convert.conversion.assemble", full)
    with pytest.raises(InputError, match=r"cannot write to .*: Disk quota exceeded; finished scans are kept"):
        convert(small_root, tmp_path, patients=None, workers=1, settings=SETTINGS)
    assert (tmp_path / "scans" / f"{SMALL}_s0.json").is_file()
    monkeypatch.undo()
    assert convert(small_root, tmp_path, patients=None, workers=1, settings=SETTINGS) == []
    assert verify(tmp_path) == []
