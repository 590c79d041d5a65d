"""Compatibility of a new run with the scans that the dataset already holds: settings, version, real or synthetic."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom

from lung_nodule.errors import InputError
from lung_nodule.io import walk
from lung_nodule.io.dicom.find import NOT_READABLE
from lung_nodule.runtime.software import this_software
from preprocessing.convert.sources import Sources
from preprocessing.dataset.conversion_settings import ConversionSettings
from preprocessing.dataset.scan_records import Record, is_synthetic, read_records, software_of_scans

logger = logging.getLogger(__name__)


def check_earlier_scans(out: Path, settings: ConversionSettings) -> None:
    """Check the settings of the folder's scans; warn if another version of this software wrote some of them.

    Raises:
        InputError: the folder holds scans with other settings.
    """
    records = read_records(out)
    _check_settings(out, records, settings)
    others = software_of_scans(records)
    own = this_software().name
    others.pop(own, None)
    if others:
        listed = ", ".join(f"{count} by {name}" for name, count in others.items())
        logger.warning(
            "%s holds scans that another version wrote (%s; this is %s): they are kept, scans.csv names each one's "
            "version; for one version throughout give another --out",
            out,
            listed,
            own,
        )


def _check_settings(out: Path, records: Sequence[Record], settings: ConversionSettings) -> None:
    wanted = settings.as_dict()
    for record in records:
        made = record["settings"]
        if made != wanted:
            changed = ", ".join(
                f"{key} {made.get(key)} -> {value}" for key, value in wanted.items() if made.get(key) != value
            )
            raise InputError(f"{out} was made with other settings ({changed}): use another --out, or the same settings")
        if record.get("duplicates") not in (None, settings.duplicates):
            raise InputError(
                f"{record['scan']['scan']} in {out} was made with --duplicates {record['duplicates']}, not "
                f"{settings.duplicates}: give the same rule, or another --out"
            )


def refuse_mixture(records: Sequence[Record], sources: Sequence[Sources], out: Path) -> None:
    """Refuse to add real scans to a synthetic dataset, or the reverse.

    One header of the download is read, and none if the dataset has no scans yet.

    Args:
        records: records of the dataset's finished scans.
        sources: files of the scans to convert.
        out: folder of the dataset, for the message.

    Raises:
        InputError: one is real and the other synthetic.
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


def _manufacturers(sources: Sequence[Sources]) -> Iterator[str]:
    """The manufacturer in each readable DICOM file."""
    for source in sources:
        files = (*source.files, *(path for root in source.folders for folder in walk(root) for path in folder.files))
        for path in files:
            try:
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Manufacturer"])
                manufacturer = str(header.get("Manufacturer", ""))
            except NOT_READABLE:
                continue
            yield manufacturer
