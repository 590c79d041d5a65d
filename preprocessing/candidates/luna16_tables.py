"""Read LUNA16's tables: candidates, annotations, excluded findings, and the subset of each scan."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lung_nodule.errors import InputError
from lung_nodule.io import line_of, read_table

COORDINATES = ["coordX", "coordY", "coordZ"]
CENTER = ["center_x_ras", "center_y_ras", "center_z_ras"]
SUBSETS = 10
SUBSET_FOLDER = re.compile(r"subset(\d)")
EXCLUDED_DIAMETER_MM = 10.0
"""Diameter that LUNA16 uses for an excluded finding without one (written as -1)."""


@dataclass(frozen=True, eq=False)
class Source:
    """LUNA16's tables, with the name and SHA-256 of each file."""

    candidates: pd.DataFrame
    findings: pd.DataFrame
    subsets: dict[str, int]
    files: dict[str, dict[str, str]]

    @functools.cached_property
    def of_series(self) -> dict[str, pd.DataFrame]:
        """Series UID -> its candidates in the table's order; series without candidates are absent."""
        return {str(series): own for series, own in self.candidates.groupby("series_uid")}

    def candidates_of(self, series_uid: str) -> pd.DataFrame:
        """The candidates of a series; an empty table if it has none."""
        return self.of_series.get(series_uid, self.candidates.iloc[:0])


def read_candidates(path: Path) -> pd.DataFrame:
    """A row per candidate: ``row`` (its number in the table), ``series_uid``, the centre in RAS mm, ``label`` (0, 1).

    Args:
        path: LUNA16's ``candidates.csv`` or ``candidates_V2.csv``: ``seriesuid,coordX,coordY,coordZ,class``, world
            coordinates in LPS mm.

    Raises:
        InputError: no such table, a column is missing, a coordinate is not a number, or a class is neither 0 nor 1.
    """
    table = read_table(path, ["seriesuid", *COORDINATES, "class"], numeric=[*COORDINATES, "class"])
    wrong = ~table["class"].isin([0, 1])
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        line, found = line_of(row, path), table["class"].iloc[row]
        raise InputError(f"{path}, line {line}: class is 1 (nodule) or 0, got {found:g}")
    return pd.DataFrame(
        {"row": np.arange(len(table)), "series_uid": _series(table), **_ras(table), "label": table["class"].astype(int)}
    )


def read_findings(annotations: Path | None, excluded: Path | None) -> pd.DataFrame:
    """A row per finding: ``row``, ``series_uid``, centre in RAS mm, ``diameter_mm``, ``excluded`` (0, 1).

    Args:
        annotations: LUNA16's ``annotations.csv``: ``seriesuid,coordX,coordY,coordZ,diameter_mm``.
        excluded: its ``annotations_excluded.csv``, the same columns: findings that count neither as nodules nor as
            false positives.

    Raises:
        InputError: a table is missing or broken, or a nodule has no diameter.
    """
    parts = [_findings(path, kind) for kind, path in enumerate((annotations, excluded)) if path is not None]
    columns = ["row", "series_uid", *CENTER, "diameter_mm", "excluded"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _findings(path: Path, excluded: int) -> pd.DataFrame:
    columns = [*COORDINATES, "diameter_mm"]
    table = read_table(path, ["seriesuid", *columns], numeric=columns)
    diameter = table["diameter_mm"].astype("float64")
    if excluded:
        diameter = diameter.mask(diameter < 0, EXCLUDED_DIAMETER_MM)
    if (diameter <= 0).any():
        row = int((diameter <= 0).to_numpy().argmax())
        raise InputError(f"{path}, line {line_of(row, path)}: diameter_mm must be above 0, got {diameter.iloc[row]:g}")
    return pd.DataFrame(
        {
            "row": np.arange(len(table)),
            "series_uid": _series(table),
            **_ras(table),
            "diameter_mm": diameter,
            "excluded": excluded,
        }
    )


def read_subsets(path: Path) -> dict[str, int]:
    """The subset (0-9) of every series.

    Args:
        path: a table ``seriesuid,subset``, or the folder of a LUNA16 download that holds ``subset0`` to ``subset9``
            (or some of them) with their ``<seriesuid>.mhd`` files.

    Raises:
        InputError: neither, a subset is not one of 0-9, or a series is in two.
    """
    pairs = _subsets_of_folder(path) if path.is_dir() else _subsets_of_table(path)
    found: dict[str, int] = {}
    for series, subset in pairs:
        if found.setdefault(series, subset) != subset:
            raise InputError(f"{path}: series {series} is in subset {found[series]} and in subset {subset}")
    return found


def _subsets_of_folder(path: Path) -> list[tuple[str, int]]:
    folders = [(folder, SUBSET_FOLDER.fullmatch(folder.name)) for folder in sorted(path.iterdir()) if folder.is_dir()]
    # Some downloads unzip to subset0/subset0/<seriesuid>.mhd
    pairs = [(file.stem, int(name[1])) for folder, name in folders if name for file in sorted(folder.rglob("*.mhd"))]
    if not pairs:
        raise InputError(
            f"{path} holds no subset0 to subset9 with .mhd files: give the folder of the LUNA16 download, or a table "
            "with the columns seriesuid,subset"
        )
    return pairs


def _subsets_of_table(path: Path) -> list[tuple[str, int]]:
    table = read_table(path, ["seriesuid", "subset"], numeric=["subset"])
    wrong = ~table["subset"].isin(range(SUBSETS))
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        line, found = line_of(row, path), table["subset"].iloc[row]
        raise InputError(f"{path}, line {line}: subset is a whole number from 0 to 9, got {found:g}")
    return list(zip(_series(table), table["subset"].astype(int), strict=True))


def _series(table: pd.DataFrame) -> pd.Series:
    return table["seriesuid"].astype("str").str.strip()


def _ras(table: pd.DataFrame) -> dict[str, pd.Series]:
    """LPS to RAS: x and y change their sign."""
    signs = (-1.0, -1.0, 1.0)
    return {
        name: sign * table[column].astype(float) + 0.0
        for name, column, sign in zip(CENTER, COORDINATES, signs, strict=True)
    }
