"""LIDC-IDRI's patients as people name them on a command line."""

from __future__ import annotations

import re

from lung_nodule.errors import InputError

NAME = re.compile(r"(?:LIDC-IDRI-)?(\d{1,4})", re.IGNORECASE)
EXAMPLE = "give LIDC-IDRI-0306, or 0306 or 306 for short, several separated by commas"


def patient_name(value: object) -> str | None:
    """``LIDC-IDRI-0306`` of ``LIDC-IDRI-0306``, ``lidc-idri-0306``, ``0306``, ``306`` or 306; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    match = NAME.fullmatch(str(value).strip())
    return None if match is None else f"LIDC-IDRI-{int(match[1]):04d}"


def patient_names(value: object, flag: str) -> list[str] | None:
    """Patients from a flag's value, each once and in the order given; None stays None.

    Args:
        value: value that fire passes: text (``0306``, ``0306,0307``), a number (``306``), or a tuple or list of these.
        flag: name of the flag, for the message.

    Raises:
        InputError: a value is not a patient's name, or nothing was named.
    """
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    given = [part for part in parts if not (isinstance(part, str) and not part.strip())]
    if value is True or not given:
        raise InputError(f"{flag} names no patient: {EXAMPLE}")
    names = [patient_name(part) for part in given]
    wrong = [repr(part) for part, name in zip(given, names, strict=True) if name is None]
    if wrong:
        raise InputError(f"{flag} holds a value that is not a patient's name, {', '.join(wrong)}: {EXAMPLE}")
    return [name for name in dict.fromkeys(names) if name is not None]
