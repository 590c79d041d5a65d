"""Print the CT, patient and series of the scan with the most nodules, for the quickstart's prediction."""

from __future__ import annotations

import sys
from pathlib import Path

import fire

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's library, whatever is installed

from lung_nodule.errors import InputError, report_in_one_line
from lung_nodule.io import read_table


def choose(dataset: str, predictions: str | None = None) -> str:
    """Print one line: path of the CT within the dataset, patient, series.

    Args:
        dataset: folder of the dataset.
        predictions: the evaluation's predictions.csv, to choose among the scans of the test fold.

    Raises:
        InputError: a table is missing, or it has no nodule to choose a scan by.
    """
    nodules = read_table(Path(dataset) / "nodules.csv", required=["nodule_id", "patient_id", "series_uid"])
    scans = read_table(Path(dataset) / "scans.csv", required=["series_uid", "patient_id", "ct"])
    if predictions is not None:
        nodules = nodules[nodules["nodule_id"].isin(read_table(Path(predictions), ["nodule_id"])["nodule_id"])]
    if nodules.empty:
        raise InputError(f"no nodule in {dataset}: give scans in which the readers marked one")
    series = nodules["series_uid"].value_counts().sort_index().idxmax()
    scan = scans[scans["series_uid"] == series].iloc[0]
    return f"{scan['ct']} {scan['patient_id']} {series}"


if __name__ == "__main__":
    report_in_one_line()
    fire.Fire(choose)
