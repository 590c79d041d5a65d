"""Names in a table that become names of files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.errors import InputError

LONGEST = 128
"""Characters; what is written adds endings such as ``_activation.nii.gz``, and a file system allows 255 bytes."""

_FITTING = rf"[A-Za-z0-9_][A-Za-z0-9._+-]{{0,{LONGEST - 1}}}"
_SUFFIX = 8  # characters that are left for a number


def is_file_name(text: str) -> bool:
    """Whether a text is a plain file name, as :func:`check_file_names` takes it."""
    return re.fullmatch(_FITTING, text) is not None


def as_file_names(texts: Iterable[str], *, otherwise: str) -> list[str]:
    """Different plain file names after free texts, such as the labels of a DICOM object.

    What does not fit becomes ``_``, a name that is taken gets a number, and an empty one is ``otherwise``.

    Example:
        >>> from lung_nodule.io.names import as_file_names
        >>> as_file_names(["Nodule 1", "Nodule 1", "../x", ""], otherwise="nodule")
        ['Nodule_1', 'Nodule_1_2', '_x', 'nodule']
    """
    names: list[str] = []
    taken: set[str] = set()
    last: dict[str, int] = {}
    for text in texts:
        fitted = re.sub(r"[^A-Za-z0-9._+-]+", "_", text.strip()).lstrip(".+-")[: LONGEST - _SUFFIX] or otherwise
        name, number = fitted, last.get(fitted, 1)
        while name in taken:
            number += 1
            name = f"{fitted}_{number}"
        last[fitted] = number
        taken.add(name)
        names.append(name)
    return names


def check_file_names(cells: pd.Series, source: str | Path) -> None:
    """Refuse a column that holds anything but plain file names.

    Nothing that passes can lead out of the folder that it is written to: no separator, no leading dot, no NUL.

    Args:
        cells: the column as it was read, its index counting the rows from 0.
        source: the table, for the error.

    Raises:
        InputError: a cell is empty or cannot name a file; its line is named.
    """
    for row, cell in enumerate(cells):
        if pd.isna(cell) or not is_file_name(str(cell)):
            raise InputError(
                f"{source}, line {line_of(row, source)}: {cells.name} {_shown(cell)} cannot name a file: use "
                f"1 to {LONGEST} letters (A-Z), digits, '.', '_', '+' or '-', and no '.', '+' or '-' at the beginning"
            )


def check_unique(cells: pd.Series, source: str | Path) -> None:
    """Refuse a column in which a value occurs twice.

    Raises:
        InputError: one does; both lines are named.
    """
    repeated = cells.duplicated()
    if repeated.any():
        second = int(repeated.to_numpy().argmax())
        cell = cells.iloc[second]
        first = int((cells == cell).to_numpy().argmax())
        lines = " and ".join(str(line_of(int(cells.index[at]), source)) for at in (first, second))
        raise InputError(f"{source}: {cells.name} {cell!r} is in several rows (lines {lines})")


def printable(name: str) -> str:
    """A file's name for a text file: bytes that are not UTF-8 as ``\\xff``."""
    return name.encode("utf-8", "backslashreplace").decode()


def line_of(row: int, source: str | Path) -> int:
    """Line of a table's row, from 1 for the header: in a CSV empty lines count, which are not rows."""
    path = Path(source)
    if path.suffix == ".parquet" or not path.is_file():
        return row + 2
    with path.open(encoding="utf-8", errors="replace") as file:
        filled = (number for number, line in enumerate(file, start=1) if line.strip())
        return next(islice(filled, row + 1, None), row + 2)


def _shown(cell: Any) -> str:
    if pd.isna(cell):
        return "is empty and"
    text = repr(str(cell))
    return text if len(text) <= 80 else f"{text[:76]}...'"
