"""What every long run needs: a lock on the output folder, progress, worker processes and the software's version."""

from .lock import only_writer
from .processes import process_pool
from .progress_bar import progress
from .software import Software, this_software

__all__ = [
    "Software",
    "only_writer",
    "process_pool",
    "progress",
    "this_software",
]
