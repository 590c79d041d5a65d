"""From a download of LIDC-IDRI to a dataset: find the scans, convert them in parallel, resume where a run stopped."""

from .conversion import convert
from .layouts import Located, locate
from .scan_task import Refused

__all__ = [
    "Located",
    "Refused",
    "convert",
    "locate",
]
