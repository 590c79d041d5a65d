"""Worklists: CSV or JSON lists of CTs to predict, checked before any request is sent."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lung_nodule.deployment.prediction.case import Case, PredictionOptions
from lung_nodule.errors import InputError
from lung_nodule.io import as_file_names, is_file_name

SUMMARY = "worklist.csv"
REQUIRED, OPTIONAL = ("ct", "nodules"), ("name", "patient_id", "series_uid")
_ENDINGS = (".nii.gz", ".nii", ".zip")
_SHOWN = 20


@dataclass(frozen=True)
class _Row:
    """A row with its position in the file and its cells."""

    where: str
    cells: Mapping[str, str]

    def path(self, column: str, folder: Path) -> Path:
        return folder / self.cells[column]


def read_worklist(path: str | Path, options: PredictionOptions | None = None) -> dict[str, Case]:
    """Read the cases of a worklist by name, in its order.

    Args:
        path: a CSV with a header, or a JSON list of objects, of ``ct``, ``nodules`` and, optionally, ``name`` (output
            folder; default: the CT's name), ``patient_id`` and ``series_uid``. Paths are relative to the list.
        options: options of every case.

    Raises:
        InputError: the list cannot be read or has invalid rows; the message lists all problems.
    """
    path = Path(path)
    rows, problems = _rows(path)
    if not rows and not problems:
        problems = ["it has no rows"]
    problems += [problem for row in rows for problem in _problems(row, path.parent)]
    names = [_name(row) for row in rows]
    problems += _repeated(rows, names)
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(f"worklist {path}: {'; '.join(problems[:_SHOWN])}{more}")
    options = options or PredictionOptions()
    return {name: _case(row, path.parent, options) for row, name in zip(rows, names, strict=True)}


def _case(row: _Row, folder: Path, options: PredictionOptions) -> Case:
    chosen = {key: row.cells.get(key) or None for key in ("patient_id", "series_uid")}
    return Case(row.path("ct", folder), row.path("nodules", folder), **chosen, options=options)


def _rows(path: Path) -> tuple[list[_Row], list[str]]:
    """Rows of the list and problems of its columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = list(_of_json(text) if path.suffix.lower() == ".json" else _of_csv(text))
    except FileNotFoundError:
        raise InputError(f"no such worklist: {path}") from None
    except (csv.Error, ValueError) as error:
        raise InputError(f"cannot read the worklist {path}: {' '.join(str(error).split())}") from None
    rows = [_Row(where, {key: value.strip() for key, value in cells.items()}) for where, cells in table]
    columns = dict.fromkeys(key for row in rows for key in row.cells)
    unknown = [column for column in columns if column not in REQUIRED + OPTIONAL]
    known = ", ".join(REQUIRED + OPTIONAL)
    return rows, [f"unknown column {', '.join(unknown)} (it may have {known})"] if unknown else []


def _of_csv(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.reader(text.splitlines(), skipinitialspace=True, strict=True)
    header = [name.strip() for name in next(reader, [])]
    if len(set(header)) != len(header):
        raise ValueError(f"its header names a column twice ({', '.join(header)}): remove or rename one")
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise ValueError(f"line {reader.line_num} has {len(cells)} cells, the header {len(header)}")
        yield f"line {reader.line_num}", dict(zip(header, cells, strict=True))


def _of_json(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    entries = json.loads(text)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("it must be a list of objects")
    for number, entry in enumerate(entries, start=1):
        yield f"entry {number}", {str(key): "" if value is None else str(value) for key, value in entry.items()}


def _problems(row: _Row, folder: Path) -> Iterator[str]:
    """Problems of a row."""
    for column in REQUIRED:
        if not row.cells.get(column):
            yield f"{row.where} has no {column}"
        elif not row.path(column, folder).exists():
            yield f"{row.where}: no such {column}: {row.path(column, folder)}"
    name = row.cells.get("name")
    if name and (not is_file_name(name) or name == SUMMARY):
        yield f"{row.where}: the name {name!r} cannot name a folder (letters A-Z, digits, '.', '_', '+', '-')"


def _name(row: _Row) -> str:
    """The given name, or the CT's without its ending."""
    if row.cells.get("name"):
        return row.cells["name"]
    file = Path(row.cells.get("ct", "")).name
    ending = next((ending for ending in _ENDINGS if file.lower().endswith(ending)), "")
    name = as_file_names([file[: len(file) - len(ending)]], otherwise="ct")[0]
    return f"{name}_ct" if name == SUMMARY else name


def _repeated(rows: Sequence[_Row], names: Sequence[str]) -> list[str]:
    places: dict[str, list[str]] = defaultdict(list)
    for row, name in zip(rows, names, strict=True):
        places[name].append(row.where)
    return [
        f"{' and '.join(where)} have the name {name}: give each its own in the column name"
        for name, where in places.items()
        if len(where) > 1
    ]
