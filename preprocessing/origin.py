"""A dataset is of real scans or of synthetic ones, never of both: a phantom has the names and UIDs of real scans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from lung_nodule.io import InputError, walk

from .ledger import Record
from .sources import Sources

SYNTHETIC = ("synthetic", "phantom")
"""Words of a manufacturer's name where the scan is no patient's."""


def refuse_mixture(records: Sequence[Record], sources: Sequence[Sources], out: Path) -> None:
    """Refuse to add real scans to a synthetic dataset, or the reverse.

    One header of the download is read; nothing where the dataset has no scan yet.

    Args:
        records: of the dataset's finished scans.
        sources: where the files of the scans to convert lie.
        out: the dataset's folder, for the message.

    Raises:
        InputError: the dataset's scans and the download are not of one kind.
    """
    if not records:
        return
    manufacturer = next(_manufacturers(sources), None)
    kept = {is_synthetic(str(record["scan"]["manufacturer"])) for record in records}
    if manufacturer is not None and kept != {is_synthetic(manufacturer)}:
        held, given = ("synthetic", "real") if True in kept else ("real", "synthetic")
        raise InputError(
            f"{out} holds {held} scans and these files are {given} (manufacturer {manufacturer!r}): give another --out"
        )


def is_synthetic(manufacturer: str) -> bool:
    """Whether a manufacturer's name says that a scan is synthetic."""
    return any(word in manufacturer.lower() for word in SYNTHETIC)


def _manufacturers(sources: Sequence[Sources]) -> Iterator[str]:
    """The manufacturer that each readable DICOM file names, file by file."""
    for source in sources:
        files = (*source.files, *(path for root in source.folders for folder in walk(root) for path in folder.files))
        for path in files:
            try:
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Manufacturer"])
            except (OSError, InvalidDicomError):
                continue
            yield str(header.get("Manufacturer", ""))
