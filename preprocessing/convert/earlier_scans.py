"""Compatibility of a new run with the scans that the dataset already holds: settings, version, real or synthetic."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pydicom

from lung_nodule.errors import InputError
from lung_nodule.io import walk
from lung_nodule.io.dicom.find import NOT_READABLE, may_be_image
from lung_nodule.io.dicom.quiet import quiet
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
    """Refuse real and synthetic scans in one dataset, whether it holds scans already or is new.

    One header of each scan's files is read.

    Args:
        records: records of the dataset's finished scans.
        sources: files of the scans to convert.
        out: folder of the dataset, for the message.

    Raises:
        InputError: some are real and others synthetic.
    """
    kept = {is_synthetic(str(record["scan"]["manufacturer"])): out for record in records}
    given = {is_synthetic(found[0]): found[1] for source in sources if (found := _manufacturer(source)) is not None}
    if len(given) > 1:
        raise InputError(
            f"the files are of synthetic scans ({given[True]}) and of real ones ({given[False]}): convert them from "
            "separate folders, each with an --out of its own"
        )
    if kept and given and kept.keys() != given.keys():
        held, other = ("synthetic", "real") if True in kept else ("real", "synthetic")
        raise InputError(
            f"{out} holds {held} scans and these files are of {other} ones ({next(iter(given.values()))}): give "
            "another --out"
        )


def _manufacturer(source: Sources) -> tuple[str, Path] | None:
    """The manufacturer in a scan's first readable DICOM file, and the file; None without one."""
    for path in (*source.files, *(path for root in source.folders for folder in walk(root) for path in folder.files)):
        if not may_be_image(path):
            continue
        try:
            with quiet():
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Manufacturer"])
            return str(header.get("Manufacturer", "")), path
        except NOT_READABLE:
            continue
    return None
