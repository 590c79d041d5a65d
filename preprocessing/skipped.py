"""``skipped.csv``: every scan that was refused and is not in the dataset, with the reason, over all runs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from lung_nodule.io import read_table, write_table

from .scan_task import Refused

SKIPPED_COLUMNS = ["scan", "patient_id", "series_uid", "reason"]


def read_skipped(out: Path) -> pd.DataFrame:
    """The table, or an empty one where there is none."""
    path = out / "skipped.csv"
    return read_table(path, SKIPPED_COLUMNS) if path.is_file() else pd.DataFrame(columns=SKIPPED_COLUMNS)


def write_skipped(out: Path, refused: Collection[Refused], *, finished: Collection[str] = ()) -> None:
    """Add refusals to skipped.csv and leave out scans that have been finished since (header only where none is left).

    Args:
        out: the dataset's folder.
        refused: of this run; a scan's new reason replaces an earlier one.
        finished: names of all scans that are in the dataset.
    """
    rows = {row["scan"]: row for row in read_skipped(out)[SKIPPED_COLUMNS].to_dict("records")}
    for item in refused:
        values = (item.scan.name, item.scan.patient_id, item.scan.series_uid, item.reason)
        rows[item.scan.name] = dict(zip(SKIPPED_COLUMNS, values, strict=True))
    kept = [rows[name] for name in sorted(rows) if name not in set(finished)]
    write_table(out / "skipped.csv", pd.DataFrame(kept, columns=SKIPPED_COLUMNS))
