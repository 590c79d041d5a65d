"""Coverage of a request: patients and scans that are present, and missing scans."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lung_nodule.errors import InputError
from preprocessing.lidc.records import ScanRecord

SHOWN = 5


def coverage(names: Collection[str], wanted: Sequence[ScanRecord]) -> str:
    """``2 of 1010 patients, 2 of 1018 scans``: how many of the requested scans are present."""
    there = [scan for scan in wanted if scan.name in names]
    patients, all_patients = ({scan.patient_id for scan in scans} for scans in (there, wanted))
    return f"{len(patients)} of {len(all_patients)} patients, {len(there)} of {len(wanted)} scans"


def check_complete(names: Collection[str], wanted: Sequence[ScanRecord], *, where: str, remedy: str) -> None:
    """Raise InputError if a requested scan is not present; the first missing ones are listed.

    Args:
        names: names of the scans that are present.
        wanted: the requested scans.
        where: source that lacks them, for the message.
        remedy: advice on what to do, for the message.
    """
    missing = [scan.name for scan in wanted if scan.name not in names]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise InputError(
            f"--complete: {len(missing)} of {len(wanted)} scans are missing {where}: "
            f"{', '.join(missing[:SHOWN])}{more}; {remedy}"
        )
