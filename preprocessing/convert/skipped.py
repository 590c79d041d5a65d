"""``skipped.csv``: every scan that was refused and is not in the dataset, with the reason, over all runs.

Rows without a scan are files and folders of an unknown scan that the last run could not read.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from lung_nodule.io import read_table, write_table
from preprocessing.convert.scan_task import SkippedScan

SKIPPED_COLUMNS = ["scan", "patient_id", "series_uid", "reason"]


def read_skipped(out: Path) -> pd.DataFrame:
    """The table; empty if the file does not exist."""
    path = out / "skipped.csv"
    table = read_table(path, SKIPPED_COLUMNS) if path.is_file() else pd.DataFrame(columns=SKIPPED_COLUMNS)
    return table.fillna("")


def write_skipped(out: Path, refused: Collection[SkippedScan], *, finished: Collection[str] = ()) -> None:
    """Add refusals to skipped.csv and remove scans that have been finished since; the header always remains.

    Args:
        out: folder of the dataset.
        refused: all refusals of this run so far; a scan's new reason replaces an earlier one.
        finished: names of all scans that are in the dataset.
    """
    rows = {row["scan"]: row for row in read_skipped(out)[SKIPPED_COLUMNS].to_dict("records") if row["scan"]}
    for item in refused:
        scan = item.scan
        values = ("", "", "") if scan is None else (scan.name, scan.patient_id, scan.series_uid)
        reason = item.reason.encode("utf-8", "backslashreplace").decode()  # paths that are not UTF-8
        rows[values[0] or reason] = dict(zip(SKIPPED_COLUMNS, (*values, reason), strict=True))
    kept = [rows[name] for name in sorted(rows) if name not in set(finished)]
    write_table(out / "skipped.csv", pd.DataFrame(kept, columns=SKIPPED_COLUMNS))
