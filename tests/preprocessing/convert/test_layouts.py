"""All usual layouts of a download convert to the same files; present and missing scans are counted."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pandas as pd
import pydicom
import pytest

from lung_nodule.errors import InputError
from preprocessing.__main__ import main
from preprocessing.convert import convert
from preprocessing.convert.layouts import locate
from preprocessing.convert.sources import Sources, series_of
from preprocessing.dataset import ConversionSettings
from preprocessing.lidc import database
from tests.preprocessing.conftest import SEVERAL, write_scan
from tests.preprocessing.convert.test_conversion import digests, linked
from tests.preprocessing.layouts import LAYOUTS, files_in_order, rearrange
from tests.slow import slow_except

SETTINGS = ConversionSettings(margin_mm=5.0)
PAIR = SEVERAL[1:]
FIRST, SECOND = PAIR


@pytest.fixture(scope="module")
def pair_root(several_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients in TCIA's folder layout."""
    root = tmp_path_factory.mktemp("pair")
    for patient in PAIR:
        (root / patient).symlink_to(several_root / patient)
    return root


@pytest.fixture(scope="module")
def expected(pair_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of every file of the dataset that the two patients give."""
    out = tmp_path_factory.mktemp("expected")
    assert convert(pair_root, out, patients=None, workers=1, settings=SETTINGS) == []
    return digests(out)


@pytest.fixture(scope="module")
def own_files(pair_root: Path) -> dict[str, list[Path]]:
    """The two patients' files in TCIA's folder layout, in the order in which they are read."""
    return files_in_order(pair_root)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_files_in_the_same_order(
    name: str, pair_root: Path, own_files: dict[str, list[Path]], tmp_path: Path
) -> None:
    """A scan is converted from these files alone, whatever they are called."""
    found = files_in_order(rearrange(pair_root, tmp_path, LAYOUTS[name]))
    assert found == own_files
    assert [len(paths) for paths in found.values()] == [len(scan.slice_positions) for scan in database.scans(PAIR)]


@pytest.mark.parametrize("name", slow_except({"uuid"}, ["patient, study, series", "uuid", "half by name, half not"]))
def test_every_layout_gives_the_same_dataset(
    name: str, pair_root: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    """Found by names alone, by headers alone, and by both."""
    root = rearrange(pair_root, tmp_path / "root", LAYOUTS[name])
    assert convert(root, tmp_path / "out", patients=None, workers=1, settings=SETTINGS) == []
    assert digests(tmp_path / "out") == expected


@pytest.mark.parametrize(
    "name", slow_except({"series UID"}, ["series UID", "uuid", "patient, study, series", "lower-case patients"])
)
def test_one_folder_of_a_layout_will_do(
    name: str, pair_root: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single series' or patient's folder, given by its path, and as ``.`` from inside."""
    root = rearrange(pair_root, tmp_path / "root", LAYOUTS[name])
    (slice_path,) = list(root.rglob("*.dcm"))[:1]
    series_uid = pydicom.dcmread(slice_path, specific_tags=["PatientID"]).PatientID
    folder = slice_path.parent
    while folder.parent != root:
        folder = folder.parent
    for number, given in enumerate((folder, Path("."))):
        monkeypatch.chdir(folder)
        out = tmp_path / f"out{number}"
        assert convert(given, out, patients=None, workers=1, settings=SETTINGS) == []
        found = {path: digest for path, digest in digests(out).items() if path.startswith(("scans/", "voi/", "qc/"))}
        assert found == {
            path: digest for path, digest in expected.items() if path.split("/")[-1].startswith(f"{series_uid}_")
        }


def test_folders_that_say_it_are_not_opened_and_others_once(
    pair_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name no image is opened before the conversion; elsewhere every file once, without its pixels."""
    opened: list[Path] = []
    whole = pydicom.dcmread

    def counting(path: Path, **options: object) -> pydicom.FileDataset:
        opened.append(path)
        assert options["stop_before_pixels"]
        assert len(options["specific_tags"]) < 10
        return whole(path, **options)

    monkeypatch.setattr(pydicom, "dcmread", counting)
    by_name = rearrange_unseen(pair_root, tmp_path / "a", "patient, study, series", monkeypatch)
    located = locate(by_name, PAIR)
    assert len(located.found) == 2
    assert opened == []
    flat = rearrange_unseen(pair_root, tmp_path / "b", "one flat folder", monkeypatch)
    located = locate(flat)
    images = sorted(flat.glob("*.dcm"))
    assert sorted(path for path in opened if path.suffix == ".dcm") == images
    assert sorted(path for source in located.sources.values() for path in source.files) == images
    assert not any(source.folders for source in located.sources.values())


def rearrange_unseen(root: Path, target: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As ``rearrange``, which opens files itself."""
    counting = pydicom.dcmread
    monkeypatch.undo()
    rearrange(root, target, LAYOUTS[name])
    monkeypatch.setattr(pydicom, "dcmread", counting)
    return target


@pytest.mark.slow
def test_the_headers_of_a_patient_with_two_scans_say_which_is_there(tmp_path: Path) -> None:
    patient = "LIDC-IDRI-0132"
    first, second = database.scans([patient])
    write_scan(tmp_path / "a", first)
    located = locate(tmp_path / "a")
    assert located.found == {first.name}
    assert set(located.sources) == {first.name, second.name}
    write_scan(tmp_path / "b", second)
    (tmp_path / "a" / "more").symlink_to(tmp_path / "b")
    assert locate(tmp_path / "a").found == {first.name, second.name}


def test_other_files_are_ignored(pair_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A patient that the database lacks, other DICOM, hidden copies: none is a scan or an error."""
    root = rearrange(pair_root, tmp_path, LAYOUTS["uuid"])
    (root / "LIDC-IDRI-9999").mkdir()
    (root / ".snapshot").mkdir()
    for path in list(root.rglob("*.dcm"))[:3]:
        shutil.copyfile(path, root / ".snapshot" / path.name)
        header = pydicom.dcmread(path)
        header.SeriesInstanceUID = "1.2.3"
        header.save_as(root / "another.dcm")
    os.mkfifo(root / "pipe")
    with caplog.at_level(logging.WARNING):
        located = locate(root)
    assert len(located.found) == 2
    assert located.unreadable == {}
    assert [record.getMessage() for record in caplog.records] == [
        "ignored LIDC-IDRI-9999: not in the LIDC-IDRI database"
    ]
    assert all(".snapshot" not in path.parts for source in located.sources.values() for path in source.files)


def test_nothing_of_the_collection(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a").write_text("text")
    with pytest.raises(InputError, match=r"no CT series of LIDC-IDRI under .* and none of 1 other files is a slice"):
        locate(tmp_path)


def test_what_was_found_and_converted_is_counted(
    pair_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["convert", "--dicom_root", str(pair_root), "--out", str(tmp_path), "--margin_mm", "5"]
    with caplog.at_level(logging.INFO):
        assert main(arguments) == 0
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == f"found 2 of 1010 patients, 2 of 1018 scans under {pair_root}"
    assert "converted 2 of 1010 patients, 2 of 1018 scans" in lines
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert main([*arguments, "--patients", FIRST]) == 0
    assert f"found 1 of 1 patients, 1 of 1 scans under {pair_root}" in caplog.text


def test_complete_means_every_scan(pair_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A missing scan ends the run before any work, unless the dataset already has it."""
    arguments = ["convert", "--dicom_root", str(pair_root), "--out", str(tmp_path / "out"), "--margin_mm", "5"]
    assert main([*arguments, "--complete"]) == 2
    assert f"--complete: 1016 of 1018 scans are missing under {pair_root}: LIDC-IDRI-0001_s0, " in caplog.text
    assert " and 1011 more; download them first" in caplog.text
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--complete", "--patients", ",".join(PAIR)]) == 0
    one = tmp_path / "one"
    one.mkdir()
    (one / FIRST).symlink_to(pair_root / FIRST)
    arguments[2] = str(one)
    assert main([*arguments, "--complete", "--patients", FIRST]) == 0
    assert main([*arguments, "--complete", "3"]) == 2


def test_a_refused_scan_is_a_gap_too(pair_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    linked(next((pair_root / SECOND).glob("*/*")), tmp_path / "root" / SECOND, without={"000010.dcm"})
    (tmp_path / "root" / FIRST).symlink_to(pair_root / FIRST)
    arguments = ["convert", "--dicom_root", str(tmp_path / "root"), "--out", str(tmp_path / "out"), "--margin_mm", "5"]
    assert main([*arguments, "--complete", "--patients", ",".join(PAIR)]) == 2
    assert f"--complete: 1 of 2 scans are missing in {tmp_path / 'out'}: {SECOND}_s0; skipped.csv" in caplog.text
    assert (tmp_path / "out" / "MANIFEST.sha256").is_file()


def foreign(folder: Path, z: float, name: str) -> None:
    """A slice with the series' UID at a position of its own."""
    header = pydicom.dcmread(next(folder.glob("000040.dcm")))
    header.ImagePositionPatient[2] = z
    header.SOPInstanceUID = header.SOPInstanceUID + ".9"
    header.save_as(folder / name)


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("workers", slow_except({1}, [1, 2]))
def test_slices_that_the_database_does_not_list_are_left_out_and_reported(
    workers: int,
    pair_root: Path,
    expected: dict[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Beyond both ends and between two slices: the volume is that of the readers' slices."""
    folder = tmp_path / "root" / FIRST / "s"
    linked(next((pair_root / FIRST).glob("*/*")), folder)
    z = database.scans([FIRST])[0].slice_positions
    places = [z[0] - 3.0, (z[20] + z[21]) / 2, z[-1] + 40.0]
    for number, place in enumerate(places):
        foreign(folder, float(place), f"a{number}.dcm")
    (tmp_path / "root" / SECOND).symlink_to(pair_root / SECOND)
    with caplog.at_level(logging.WARNING):
        assert convert(tmp_path / "root", tmp_path / "out", patients=None, workers=workers, settings=SETTINGS) == []
    row = pd.read_csv(tmp_path / "out" / "scans.csv").set_index("patient_id").loc[FIRST]
    assert "extra_slices" in row["flags"].split(";")
    for place in places:
        assert f"{round(float(place), 3):g}" in row["remarks"]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{FIRST}_s0: ")
    assert row["remarks"] in message
    volumes = {name for name in expected if name.endswith(".nii.gz")}
    assert {name: digests(tmp_path / "out")[name] for name in volumes} == {name: expected[name] for name in volumes}


@pytest.mark.parametrize("inside", [10, 0])
def test_a_named_folder_that_is_not_complete_does_not_hide_the_rest(
    inside: int, pair_root: Path, tmp_path: Path
) -> None:
    """Part of a series in its patient's folder, beside an object that is no CT; the rest under other names."""
    (scan,) = database.scans([FIRST])
    named, rest = tmp_path / "root" / FIRST, tmp_path / "root" / "rest"
    for number, path in enumerate(sorted((pair_root / FIRST).rglob("*.dcm"))):
        folder = named if number < inside else rest
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.dcm").symlink_to(path)
    named.mkdir(exist_ok=True)
    header = pydicom.dcmread(next(rest.iterdir()))
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    header.save_as(named / "segmentation.dcm")
    for patients in (None, [FIRST]):
        located = locate(tmp_path / "root", patients)
        assert len(series_of(scan, located.sources[scan.name]).paths) == len(scan.slice_positions)


def test_archives_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "ct.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="no CT series of LIDC-IDRI") as without:
        locate(tmp_path / "a")
    assert "unpack" not in str(without.value)
    (tmp_path / "a" / "series.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"archives are not read: unpack series\.zip first"):
        locate(tmp_path / "a")
    (scan,) = database.scans([FIRST])
    (tmp_path / FIRST).mkdir()
    for name in ("1.tar", "2.tar"):
        (tmp_path / FIRST / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"archives are not read: unpack [12]\.tar and 1 more first"):
        series_of(scan, Sources(folders=(tmp_path / FIRST,)))
