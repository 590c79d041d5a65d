"""A user's table of nodules: ids and centres, and which rows belong to a CT."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lung_nodule.errors import InputError
from lung_nodule.io.archive import is_archive
from lung_nodule.io.names import check_unique, line_of
from lung_nodule.io.patient_names import patient_name
from lung_nodule.io.tables import read_table

CENTER = ("center_x_ras", "center_y_ras", "center_z_ras")
"""World coordinates in mm, RAS (NIfTI's convention)."""


def read_nodules(
    path: str | Path,
    *,
    keep: Mapping[str, str | int | None] | None = None,
    columns: Sequence[str] = (),
    optional: Sequence[str] = (),
    series_of: str | Path | None = None,
) -> pd.DataFrame:
    """The needed columns of a table of nodules; readers' ratings and masks are not read.

    Args:
        path: CSV or Parquet with ``nodule_id`` and the centre in world coordinates (RAS, mm).
        keep: mapping from a column to the value whose rows are taken (``patient_id``, ``series_uid``); None takes all
            rows.
        columns: further columns that must be there.
        optional: further columns that are taken where the table has them; of those in mm a cell may be empty.
        series_of: path of the CT of the rows; where it is a folder or a zip, ``series_uid`` may name one of its series
            and the table need not have that column.

    Returns:
        ``nodule_id``, the centre and these columns; the index counts the table's rows from 0.

    Raises:
        InputError: a column is missing, no row is left, rows of several patients or series are mixed, a centre or a
            length is not a number, or the ids are not unique or not fit for a file name.
    """
    path = Path(path)
    table = _read(path, ["nodule_id", *CENTER, *columns])
    several = series_of is not None and (Path(series_of).is_dir() or is_archive(series_of))
    if several and "series_uid" not in table.columns:
        keep = {column: value for column, value in (keep or {}).items() if column != "series_uid"}
    table = _kept(table, keep or {}, path)
    if table.empty:
        raise InputError(f"{path} holds no nodule: give one row per nodule")
    check_unique(table["nodule_id"], path)
    found = [name for name in optional if name in table.columns]
    lengths = {name: _lengths(table[name], path) for name in found if name.endswith("_mm")}
    return table[["nodule_id", *CENTER, *columns, *found]].assign(**lengths)


def center_of(row: Mapping[Any, Any]) -> tuple[float, float, float]:
    """A row's centre, RAS, mm."""
    x, y, z = (float(row[column]) for column in CENTER)
    return x, y, z


def _lengths(cells: pd.Series, path: Path) -> pd.Series:
    """Numbers in mm; NaN where a cell is empty."""
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    for row, number, cell in zip(cells.index, numbers, cells, strict=True):
        if math.isnan(number) and not pd.isna(cell) and str(cell).strip():
            raise InputError(
                f"{path}, line {line_of(int(row), path)}: column {cells.name} holds {cell!r}: write a number of mm, or "
                "leave it empty"
            )
    return numbers


def _kept(table: pd.DataFrame, keep: Mapping[str, str | int | None], path: Path) -> pd.DataFrame:
    """The rows with the wanted values."""
    for column, value in keep.items():
        if value is not None:
            if column not in table.columns:
                raise InputError(f"{path} has no column {column}: leave --{column} out or add it")
            table = table[_holds(table[column].astype(str), value)]
            if table.empty:
                raise InputError(f"{path} has no nodule with {column} {value}")
        elif column in table.columns and table[column].isna().any() and not table[column].isna().all():
            raise InputError(
                f"{path} has rows without a {column}: fill them in, or select the CT's rows with --{column}"
            )
        elif column in table.columns and table[column].nunique() > 1:
            raise InputError(
                f"{path} holds {table[column].nunique()} values of {column}: select the CT's rows with --{column}"
            )
    return table


def _holds(cells: pd.Series, value: object) -> pd.Series:
    """Mask of the cells that hold a value as it is written, or else the LIDC-IDRI patient that it abbreviates (306)."""
    exact, name = cells == str(value), patient_name(value) if cells.name == "patient_id" else None
    return exact if exact.any() or name is None else cells.map(patient_name) == name


def _read(path: Path, required: Sequence[str]) -> pd.DataFrame:
    """The table; where it has the coordinates of DICOM and ITK instead of RAS, the error says how to turn them."""
    try:
        return read_table(path, required=required)
    except InputError as error:
        names = list(read_table(path).columns) if path.is_file() else []
        found = [name for name in names if str(name).lower().endswith("_lps") or str(name).lower().startswith("coord")]
        if not found or set(CENTER) <= set(names):
            raise
        raise InputError(
            f"{path} gives {', '.join(found)} (LPS, as DICOM and ITK) and not {', '.join(CENTER)}: negate x and y, "
            "keep z, and name the columns so"
        ) from error
