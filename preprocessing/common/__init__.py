"""What every long run needs: a lock on the output folder, progress, worker processes and the software's version."""

from preprocessing.common.lock import only_writer
from preprocessing.common.processes import process_pool
from preprocessing.common.progress_bar import progress
from preprocessing.common.software import Software, this_software

__all__ = [
    "Software",
    "only_writer",
    "process_pool",
    "progress",
    "this_software",
]
