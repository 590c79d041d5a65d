"""Tables: CSV and Parquet, written atomically and read with errors that name the cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from lung_nodule.errors import InputError
from lung_nodule.io.atomic import atomic_path
from lung_nodule.io.names import check_file_names, check_unique, line_of

TEXT_COLUMNS = (
    "nodule_id", "candidate_id", "patient_id", "study_uid", "series_uid", "fold", "ct", "mask", "reader_masks", "voi",
)  # fmt: skip
NAMES_FILES = "nodule_id"
NUMBER_ENDINGS = ("_mm", "_mm3", "_ras", "_mean", "_median", "_prob", "readers")


def write_table(path: str | Path, table: pd.DataFrame, *, digits: int | None = None) -> None:
    """Write a table without its index, atomically; the ending (``.csv`` or ``.parquet``) says the format.

    Args:
        path: path of the file.
        table: table to write.
        digits: significant digits of the numbers in a CSV; all of them when not given.

    Raises:
        InputError: the file's name ends in neither ``.csv`` nor ``.parquet``.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            number = None if digits is None else f"%.{digits}g"
            table.to_csv(temporary, index=False, lineterminator="\n", float_format=number)
        elif path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            raise InputError(f"a table's name ends in .csv or .parquet, got {path.name}")


def read_table(
    path: str | Path, required: Sequence[str] = (), *, numeric: Sequence[str] | None = None, unique: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a CSV or Parquet table and check the columns that are needed.

    Ids, UIDs, folds and paths are read as text, whatever they look like; a number is the one that was written, to its
    last digit. A ``nodule_id`` names files wherever nodules are written, so a table that holds one that cannot
    (``../../x``) is refused here, for all who read it.

    Args:
        path: path of the table.
        required: columns that must be there.
        numeric: columns, among those required, whose every cell must hold a finite number; by default the required
            ones whose names end in ``_mm``, ``_mm3``, ``_ras``, ``_mean``, ``_median``, ``_prob`` or ``readers``.
        unique: columns whose values must be unique.

    Raises:
        InputError: no such file, no table, a column is missing, a cell is not a number, a ``nodule_id`` cannot name a
            file, or a value occurs twice (its line is named).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such table: {path}")
    table = _read(path)
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise InputError(f"{path} lacks the column {', '.join(missing)} (it has: {', '.join(map(str, table.columns))})")
    for column in required:
        if column.endswith(NUMBER_ENDINGS) if numeric is None else column in numeric:
            table[column] = _numbers(table[column], path)
    if NAMES_FILES in table.columns:
        check_file_names(table[NAMES_FILES], path)
    for column in unique:
        check_unique(table[column], path)
    return table


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            texts = [column for column in TEXT_COLUMNS if column in table]
            return table.assign(**{column: table[column].map(str, na_action="ignore") for column in texts})
        if b"\0" in path.read_bytes():  # pandas would end a cell there
            raise ValueError("it holds NUL bytes, so it is no CSV; give plain text in UTF-8, or Parquet")
        _require_commas(path)
        table = pd.read_csv(
            path, converters=dict.fromkeys(TEXT_COLUMNS, _text), skipinitialspace=True, float_precision="round_trip"
        )
        if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first cells of such rows for an index
            raise ValueError("its rows have more cells than its header: remove commas at the ends of lines")
        return table
    except ImportError as error:
        raise InputError(f"{path} is Parquet, which needs the package pyarrow: install it, or give a CSV") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, ValueError, OSError) as error:
        raise InputError(f"cannot read {path} as a table: {' '.join(str(error).split())}") from error


def _require_commas(path: Path) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline()
    if "," not in header and (";" in header or "\t" in header):
        raise ValueError("its cells end with semicolons or tabs: separate them by commas, with points in decimals")


def _text(cell: str) -> str | None:
    """A cell as it is written, a patient called NA included; None if it is empty."""
    return cell or None


def _numbers(cells: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce")
    wrong = numbers.isna() | numbers.isin([float("inf"), float("-inf")])
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(
            f"{path}, line {line_of(row, path)}: column {cells.name} holds {cells.tolist()[row]!r}, not a number"
        )
    return numbers
