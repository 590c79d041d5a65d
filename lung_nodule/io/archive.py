"""A CT series in a zip file, unpacked into a temporary folder."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from lung_nodule.errors import InputError
from lung_nodule.io.dicom.find import may_be_image
from lung_nodule.io.names import as_file_names

MOST_BYTES, MOST_FILES = 4 << 30, 20_000
"""Limits on the unpacked content of a zip; a thin-slice CT has about 1000 slices of 0.5 MB."""
_ENCRYPTED = 0x1  # bit of an entry's flags
_READABLE = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the others decompress into memory without a bound


def is_archive(path: str | Path) -> bool:
    """Whether a path names a zip file."""
    return Path(path).suffix.lower() == ".zip"


@contextmanager
def unpack(path: str | Path) -> Iterator[Path]:
    """Yield a folder with the files of a zip that may be DICOM images; any other path is yielded as it is.

    The folder is removed when the block ends, however it ends. Nothing is written outside of it: its files are
    numbered, and of the names in the zip only the last part is kept. An :class:`InputError` of the block that names
    the folder names the zip instead.

    Raises:
        InputError: the file is not a zip, damaged, encrypted, or unpacks to more than 4 GiB or 20,000 files.
    """
    path = Path(path)
    if not (is_archive(path) and path.is_file()):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="lung_nodule_") as folder:
        try:
            _unpack(path, Path(folder))
            yield Path(folder)
        except InputError as error:
            if folder not in str(error):
                raise
            raise InputError(str(error).replace(folder, str(path))) from error


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _images(archive, path)
            names = as_file_names([_last_part(entry) for entry in entries], otherwise="file")
            for number, (entry, name) in enumerate(zip(entries, names, strict=True), start=1):
                with archive.open(entry) as packed, (folder / f"{number:06d}_{name}").open("wb") as file:
                    shutil.copyfileobj(packed, file)  # ends at the size that the zip gives
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{path} is not a zip file, or is damaged ({error}): export the series again") from error


def _images(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The entries that may be images, once all of them can be unpacked safely."""
    found = [entry for entry in archive.infolist() if not entry.is_dir() and _may_be_image(entry)]
    if any(entry.flag_bits & _ENCRYPTED for entry in found):
        raise InputError(f"{path} is encrypted: unpack it, and give the folder")
    if any(entry.compress_type not in _READABLE for entry in found):
        raise InputError(f"{path} is compressed by another method than deflate: unpack it, and give the folder")
    size = sum(entry.file_size for entry in found)
    if size > MOST_BYTES or len(found) > MOST_FILES:
        raise InputError(
            f"{path} unpacks to {len(found)} files of {size / 2**30:.1f} GiB, more than {MOST_FILES} or "
            f"{MOST_BYTES / 2**30:.0f} GiB: give a zip of one CT series"
        )
    return found


def _may_be_image(entry: zipfile.ZipInfo) -> bool:
    name = _last_part(entry)
    return not name.startswith(".") and may_be_image(Path(name))


def _last_part(entry: zipfile.ZipInfo) -> str:
    return PurePosixPath(entry.filename.replace("\\", "/")).name
