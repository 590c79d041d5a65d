"""From a download of LIDC-IDRI to a dataset: find the scans, convert them in parallel, resume where a run stopped."""

from preprocessing.convert.conversion import convert
from preprocessing.convert.layouts import Located, locate
from preprocessing.convert.scan_task import SkippedScan

__all__ = [
    "Located",
    "SkippedScan",
    "convert",
    "locate",
]
