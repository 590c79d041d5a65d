"""Sort files into CT series by their headers."""

from __future__ import annotations

import logging
import struct
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
from lung_nodule.errors import InputError
from lung_nodule.io.dicom.quiet import quiet
from lung_nodule.io.dicom.series import SeriesFiles
from lung_nodule.io.folders import files_under, reason
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import CTImageStorage
from tqdm import tqdm

logger = logging.getLogger(__name__)

DEFER_BYTES = 1 << 16  # larger values, that is the pixels, are read when they are asked for
NOT_READABLE = (
    InvalidDicomError, BytesLengthException, EOFError, AttributeError, LookupError, ValueError, TypeError, OSError,
    struct.error, NotImplementedError,
)  # fmt: skip
"""What pydicom raises on files that are damaged or not DICOM."""
HEADER_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "ImagePositionPatient",
]  # fmt: skip
ARCHIVES = {".zip", ".gz", ".tgz", ".tar", ".7z", ".rar"}
NO_IMAGE = ARCHIVES | {
    ".xml", ".csv", ".tsv", ".txt", ".json", ".pdf", ".html", ".md", ".xls", ".xlsx", ".tcia", ".log", ".py",
    ".nii", ".nrrd", ".mhd", ".raw", ".png", ".jpg", ".parquet", ".sha256",
}  # fmt: skip
EMPTY = "empty"
FoundFile = tuple[float, str, Path, pydicom.FileDataset | None]


def find_series(root: str | Path, *, keep_headers: bool = False) -> list[SeriesFiles]:
    """CT series under a folder, at any depth, ordered by patient and SeriesInstanceUID.

    Files that are not DICOM (XML, licences) and DICOM objects other than CT images are skipped.

    Args:
        root: the folder.
        keep_headers: whether to keep every file's attributes for ``read_series`` (some 50 kB a slice: for a patient,
            not for a whole collection).

    Raises:
        InputError: the folder does not exist.
    """
    found, unreadable = series_under(Path(root), keep_headers=keep_headers)
    for path, why in unreadable.items():
        logger.warning("skipped %s: %s", path, why)
    return found


def series_under(root: Path, *, keep_headers: bool) -> tuple[list[SeriesFiles], dict[Path, str]]:
    """As ``find_series``, with the files and folders that may hold slices and cannot be read, and why."""
    if not root.is_dir():
        raise InputError(f"no such folder: {root}")
    paths, closed = files_under(root)
    shown = tqdm(paths, desc="DICOM headers", unit="file", delay=5, disable=None)
    found, unreadable = sort_series(shown, keep_headers=keep_headers)
    return found, closed | unreadable


def may_be_image(path: Path) -> bool:
    """Whether a file's name leaves it open that it is a DICOM image; many have no ending, or a UID's last number."""
    return path.suffix.lower() not in NO_IMAGE


def is_packed(path: Path) -> bool:
    """Whether a file is an archive by its name; a compressed NIfTI file is not."""
    return path.suffix.lower() in ARCHIVES and not path.name.lower().endswith(".nii.gz")


def sort_series(paths: Iterable[Path], *, keep_headers: bool = False) -> tuple[list[SeriesFiles], dict[Path, str]]:
    """Sort files into CT series; each file's header is read once, without its pixels.

    Args:
        paths: the files; those of other kinds (XML, archives, DICOM objects other than CT images) are skipped.
        keep_headers: whether to keep every file's attributes for ``read_series``.

    Returns:
        The series, ordered by patient and SeriesInstanceUID, the files of each by their position; and the files that
        may be slices and cannot be read, with the reason.
    """
    groups: dict[tuple[str, str, str], list[FoundFile]] = defaultdict(list)
    unreadable: dict[Path, str] = {}
    for path in paths:
        if not may_be_image(path):
            continue
        try:
            place = _place_of(path, keep_headers)
        except NOT_READABLE as error:
            why = _why_unreadable(path, error)
            unreadable |= {} if why is None else {path: why}
            continue
        if place is not None:
            key, found = place
            groups[key].append(found)
    return [_files_of(key, found) for key, found in sorted(groups.items())], unreadable


def _files_of(key: tuple[str, str, str], found: list[FoundFile]) -> SeriesFiles:
    """Order the files of a series independently of their names."""
    ordered = sorted(found, key=lambda item: item[:3])
    z_positions, _, paths, headers = zip(*ordered, strict=True)
    return SeriesFiles(
        *(part.strip() for part in key),
        paths=paths,
        z_positions=np.array(z_positions),
        headers=() if None in headers else headers,
    )


def _place_of(path: Path, keep_headers: bool) -> tuple[tuple[str, str, str], FoundFile] | None:
    """A file's series and its place in it; None for a DICOM file that is not a CT image."""
    header = _read_header(path, keep_headers)
    if header is None:
        return None
    key = (str(header.get("PatientID", "")), str(header.StudyInstanceUID), str(header.SeriesInstanceUID))
    z, uid = float(header.ImagePositionPatient[2]), str(header.get("SOPInstanceUID", ""))
    return key, (z, uid, path, header if keep_headers else None)


def _read_header(path: Path, whole: bool) -> pydicom.FileDataset | None:
    """The few tags that sort files into series, or all; None for a DICOM file that is not a CT image."""
    with quiet():
        if whole:
            header = pydicom.dcmread(path, defer_size=DEFER_BYTES)
        else:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=HEADER_TAGS)
        kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", CTImageStorage)
        if kind != CTImageStorage:
            return None
        return header


def _why_unreadable(path: Path, error: Exception) -> str | None:
    """Why a file cannot be read; None if it is not DICOM and its name does not say that it should be."""
    if isinstance(error, OSError):
        return reason(error)
    if path.stat().st_size == 0:
        return EMPTY
    if isinstance(error, InvalidDicomError):
        return "no DICOM file" if path.suffix.lower() == ".dcm" else None
    missing = getattr(error, "name", None)
    return f"it has no {missing} (cut short?)" if missing in HEADER_TAGS else "no usable header (cut short?)"
