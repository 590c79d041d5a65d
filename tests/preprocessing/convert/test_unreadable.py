"""Unreadable files are reported, and files with several links are read once."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from lung_nodule.errors import InputError
from preprocessing.__main__ import main
from preprocessing.convert import convert
from preprocessing.convert.layouts import locate
from preprocessing.convert.scan_task import SkippedScan
from preprocessing.convert.skipped import write_skipped
from preprocessing.convert.sources import series_of
from preprocessing.dataset import ConversionSettings
from preprocessing.lidc import database
from tests.preprocessing.conftest import SEVERAL, SMALL
from tests.preprocessing.convert.test_conversion import linked
from tests.preprocessing.layouts import LAYOUTS, rearrange

SETTINGS = ConversionSettings(margin_mm=5.0)
OTHER = SEVERAL[1]
REPOSITORY = Path(__file__).resolve().parents[3]
Scandir = os.scandir


@pytest.fixture
def root(several_root: Path, tmp_path: Path) -> Path:
    """Two patients: one as a link, the other with a folder of its own."""
    root = tmp_path / "root"
    linked(next((several_root / OTHER).glob("*/*")), root / OTHER / "s")
    (root / SMALL).symlink_to(several_root / SMALL)
    return root


def close(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without read rights, also for root."""

    def scandir(path: str | os.PathLike[str] = ".") -> Iterator[os.DirEntry[str]]:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return Scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)


def skipped(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "skipped.csv", keep_default_na=False)


def run(root: Path, out: Path) -> int:
    return main(["convert", "--dicom_root", str(root), "--out", str(out), "--margin_mm", "5"])


@pytest.mark.parametrize("closed", [OTHER, f"{OTHER}/s"])
def test_a_patient_s_folder_without_read_rights(
    closed: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close(root / closed, monkeypatch)
    assert run(root, tmp_path / "out") == 1
    (row,) = skipped(tmp_path / "out").itertuples()
    assert row.scan == f"{OTHER}_s0"
    assert row.reason.startswith(f"cannot read {root / closed} (Permission denied): ")
    assert pd.read_csv(tmp_path / "out" / "scans.csv")["patient_id"].tolist() == [SMALL]


@pytest.mark.slow
def test_a_folder_above_a_patient_and_a_series_folder(
    several_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose name identifies no scan has a row without a scan, until it can be read."""
    root = rearrange(several_root, tmp_path / "root", LAYOUTS["uuid"])
    closed = sorted(path for path in root.iterdir() if path.is_dir())[0]
    close(closed, monkeypatch)
    assert run(root, tmp_path / "out") == 1
    (row,) = skipped(tmp_path / "out").itertuples()
    assert (row.scan, row.patient_id, row.reason) == ("", "", f"cannot read {closed}: Permission denied")
    monkeypatch.undo()
    assert run(root, tmp_path / "out") == 0
    assert skipped(tmp_path / "out").empty


def test_a_patient_with_two_scans_without_read_rights(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "lidc-idri-0132").mkdir()
    close(root / "lidc-idri-0132", monkeypatch)
    assert run(root, tmp_path / "out") == 1
    table = skipped(tmp_path / "out")
    assert table["scan"].tolist() == ["LIDC-IDRI-0132_s0", "LIDC-IDRI-0132_s1"]
    assert all("Permission denied" in reason for reason in table["reason"])


@pytest.mark.slow
def test_a_link_to_a_disk_that_is_not_there(root: Path, tmp_path: Path) -> None:
    (root / SEVERAL[2]).symlink_to(tmp_path / "unmounted" / "LIDC-IDRI-0287")
    assert run(root, tmp_path / "out") == 1
    (row,) = skipped(tmp_path / "out").itertuples()
    assert row.scan == f"{SEVERAL[2]}_s0"
    assert f"cannot read {root / SEVERAL[2]} (No such file or directory)" in row.reason


def test_nothing_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"nothing of LIDC-IDRI can be read under .*Permission denied"):
        locate(tmp_path)


WITHOUT_RIGHTS = """import os, sys, traceback
from pathlib import Path
from lung_nodule.errors import InputError
from preprocessing.convert.layouts import locate
from preprocessing.convert.sources import series_of

def read(root):
    located = locate(root)
    for scan in located.wanted:
        if scan.name in located.sources:
            print(scan.name, len(series_of(scan, located.sources[scan.name]).paths), flush=True)

def become_a_user():
    if os.getuid() == 0:  # who may read everything
        os.setgroups([]), os.setgid(65534), os.setuid(65534)

root = Path(sys.argv[1])
read(root)  # and import what is imported late, which other users may not be able to
for closed in sys.argv[2:]:
    (root / closed).chmod(0)
    if not (child := os.fork()):
        try:
            become_a_user()
            read(root)
        except InputError as error:
            print(error, flush=True)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.waitpid(child, 0)
    (root / closed).chmod(0o755)
"""
CLOSED = [OTHER, f"{OTHER}/s", f"{OTHER}/s/000010.dcm"]


@pytest.fixture(scope="module")
def open_root(several_root: Path) -> Iterator[Path]:
    """One patient's files where other users may read them; pytest's own folders are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(next((several_root / OTHER).glob("*/*")), Path(folder) / OTHER / "s")
        yield Path(folder)


@pytest.mark.slow
def test_a_user_without_rights(open_root: Path) -> None:
    """Real rights, without a patch: as this user, or as another one where this is root."""
    command = [sys.executable, "-c", WITHOUT_RIGHTS, str(open_root), *CLOSED]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    before, *after = ended.stdout.splitlines()
    assert before.startswith(f"{OTHER}_s0 ")
    for closed, line in zip(CLOSED, after, strict=True):
        assert line.startswith(f"cannot read {open_root / closed} (Permission denied): ")


def test_an_unreadable_slice_is_called_unreadable(root: Path, tmp_path: Path) -> None:
    """Links that lead nowhere, an empty file, a file that is no DICOM, one cut in its header."""
    (scan,) = database.scans([OTHER])
    folder = root / OTHER / "s"
    broken = {
        "000010.dcm": "No such file or directory",
        "000020.dcm": "empty",
        "000030.dcm": "no DICOM file",
        "000040.dcm": "no usable header (cut short?)",
    }
    for name in broken:
        whole = (folder / name).read_bytes()
        (folder / name).unlink()
        contents = {"000020.dcm": b"", "000030.dcm": b"text" * 100, "000040.dcm": whole[:500]}
        if name in contents:
            (folder / name).write_bytes(contents[name])
        else:
            (folder / name).symlink_to(tmp_path / "gone.dcm")
    assert run(root, tmp_path / "out") == 1
    (row,) = skipped(tmp_path / "out").itertuples()
    z = [f"{scan.slice_positions[int(name[:6]) - 1]:g}" for name in broken]
    assert row.reason.startswith("cannot read ")
    assert "missing" not in row.reason
    for name, why in list(broken.items())[:3]:
        assert f"{folder / name} ({why})" in row.reason
    assert "and 1 more" in row.reason
    assert f"no slices at z = {', '.join(z)} mm are left" in row.reason


@pytest.mark.slow
def test_an_unreadable_slice_in_a_flat_folder(several_root: Path, tmp_path: Path) -> None:
    """Only the scan whose slice is missing is refused, not its neighbours."""
    root = rearrange(several_root, tmp_path / "root", LAYOUTS["one flat folder"])
    (scan,) = database.scans([OTHER])
    path = sorted(root.glob(f"{scan.series_uid}.*.dcm"))[5]
    path.unlink()
    path.symlink_to(tmp_path / "gone.dcm")
    assert run(root, tmp_path / "out") == 1
    (row,) = skipped(tmp_path / "out").itertuples()
    assert row.scan == scan.name
    assert f"cannot read {path} (No such file or directory): no slices at z = " in row.reason


def test_a_whole_series_beside_something_broken_is_converted(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / OTHER / "s" / "broken.dcm").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert run(root, tmp_path / "out") == 0
    assert f"ignored unreadable files: {root / OTHER / 's' / 'broken.dcm'} (empty)" in caplog.text


@pytest.mark.slow
def test_links_in_circles_and_second_paths_are_read_once(root: Path, tmp_path: Path) -> None:
    """Up to the root, up to itself, to a neighbour, and a second link to every slice."""
    patient = root / OTHER
    (patient / "up").symlink_to(root)
    (patient / "self").symlink_to(patient)
    (patient / "s" / "deep").symlink_to(patient / "s")
    (patient / "neighbour").symlink_to(root / SMALL)
    (patient / "again").mkdir()
    for path in (patient / "s").glob("*.dcm"):
        (patient / "again" / path.name).symlink_to(path)
    (root / "all").symlink_to(root)
    (root / "one").symlink_to(patient)
    located = locate(root)
    for scan in located.wanted:
        if scan.name in located.sources:
            files = series_of(scan, located.sources[scan.name])
            assert len(files.paths) == len({path.resolve() for path in files.paths}) == len(scan.slice_positions)
    assert convert(root, tmp_path / "out", patients=None, workers=1, settings=SETTINGS) == []
    flags = pd.read_csv(tmp_path / "out" / "scans.csv", keep_default_na=False)["flags"]
    assert not flags.str.contains("duplicate_z").any()


def test_a_path_that_is_not_utf_8_can_be_named(tmp_path: Path) -> None:
    """As a folder of an old archive in Latin-1."""
    (scan,) = database.scans([OTHER])
    reason = f"cannot read {os.fsdecode(b'root/M' + bytes([0xFC]) + b'ller/0.dcm')}"
    for item in (SkippedScan(scan, reason), SkippedScan(None, reason)):
        write_skipped(tmp_path, [item])
    assert set(skipped(tmp_path).reason) == {r"cannot read root/M\udcfcller/0.dcm"}
