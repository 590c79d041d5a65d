"""A CT series in a zip file: read as from its folder, or refused in one line, and nothing left behind."""

from __future__ import annotations

import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lung_nodule.errors import InputError
from lung_nodule.io import archive, read_ct, unpack
from tests.user_ct import write_dicom

OPTIONS = {"stored": lambda k: np.full((5, 4), 100 + k, dtype=np.int16), "pixel_spacing": (0.9, 0.8)}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where zips are unpacked."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dicom(tmp_path / "series", **OPTIONS)


def zipped(path: Path, files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def contents(folder: Path, prefix: str = "DICOM/") -> dict[str, bytes]:
    return {f"{prefix}{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}


PREFIXES = ["", "DICOM/ST000/", "../../", "/tmp/", "C:\\scans\\", "..\\..\\"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_zip_is_its_folder_and_nothing_leaves_it(prefix: str, folder: Path, tmp_path: Path, temporary: Path) -> None:
    others = {"DICOMDIR.txt": b"", "__MACOSX/._000001.dcm": b"\0", "inner.zip": b"PK"}
    path = zipped(tmp_path / "Scan.ZIP", {**contents(folder, prefix), **others})
    before = {file for file in tmp_path.rglob("*") if temporary not in file.parents}
    with unpack(path) as inside:
        found, expected = read_ct(inside), read_ct(folder)
        assert {file.parent for file in temporary.rglob("*") if file.is_file()} == {inside}
        assert {file for file in tmp_path.rglob("*") if temporary not in file.parents} == before
    np.testing.assert_array_equal(found.volume.data, expected.volume.data)
    np.testing.assert_array_equal(found.volume.affine, expected.volume.affine)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("error", [InputError, KeyboardInterrupt, ZeroDivisionError])
def test_nothing_is_left_whatever_happens(
    error: type[BaseException], folder: Path, tmp_path: Path, temporary: Path
) -> None:
    def use() -> None:
        with unpack(zipped(tmp_path / "scan.zip", contents(folder))) as inside:
            assert len(list(inside.iterdir())) == 30
            raise error

    with pytest.raises(error):
        use()
    assert list(temporary.iterdir()) == []


def encrypted(path: Path) -> None:
    """Mark every entry as encrypted, in its local and its central header."""
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(signature, at + 4)
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def one_bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(content)


def larger_than_it_says(path: Path) -> None:
    """The first entry holds more than its central header claims."""
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<I", 16)
    path.write_bytes(content)


def two_series(path: Path) -> None:
    other = write_dicom(path.parent / "other", **OPTIONS, series_uid="1.2.3.4")
    with zipfile.ZipFile(path, "a") as file:
        for name, content in contents(other, "other/").items():
            file.writestr(name, content)


def no_image(path: Path) -> None:
    zipped(path, {"readme.txt": b"no CT", "notes": b"no DICOM"})


def other_method(path: Path) -> None:
    zipped(path, {"000001.dcm": b"\0" * 1000}, method=zipfile.ZIP_LZMA)


REFUSED = [
    (encrypted, "scan.zip is encrypted: unpack it, and give the folder"),
    (cut_short, "scan.zip is not a zip file, or is damaged"),
    (one_bit_flipped, "scan.zip is not a zip file, or is damaged"),
    (larger_than_it_says, "scan.zip is not a zip file, or is damaged"),
    (two_series, r"2 CT series under \S*scan.zip: name one with --series_uid"),
    (no_image, r"no DICOM CT image under \S*scan.zip"),
    (other_method, "scan.zip is compressed by another method than deflate"),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_holds_no_ct_series_is_refused(
    spoil: Callable[[Path], None], message: str, folder: Path, tmp_path: Path, temporary: Path
) -> None:
    path = zipped(tmp_path / "scan.zip", contents(folder))
    spoil(path)
    with pytest.raises(InputError, match=message) as caught, unpack(path) as inside:
        read_ct(inside)
    assert "\n" not in str(caught.value)
    assert str(temporary) not in str(caught.value)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("name", "value"), [("MOST_BYTES", 10_000), ("MOST_FILES", 29)])
def test_too_much_is_refused_before_it_is_unpacked(
    name: str, value: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "scan.zip", contents(folder))
    monkeypatch.setattr(archive, name, value)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(InputError, match=r"scan.zip unpacks to 30 files of .* GiB, more than"), unpack(path):
        pass


def test_what_is_no_zip_stays_where_it_is(folder: Path, tmp_path: Path) -> None:
    for path in (folder, tmp_path / "scan.nii.gz", tmp_path / "missing.zip"):
        with unpack(path) as inside:
            assert inside == path
