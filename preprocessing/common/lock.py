"""One run at a time writes to a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lung_nodule.io import InputError


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make the folder and hold it until the block ends; the lock goes with the process, however that ends.

    A folder that was made here goes again where the block left nothing in it.

    Raises:
        InputError: another run holds the folder.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        try:
            yield
        finally:
            _remove_empty(missing)
    finally:
        os.close(handle)


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, up to the first that holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"another run is writing to {folder}: wait for its end, or give another --out") from error
    except OSError:
        pass  # some network file systems lock no folders; every file is still renamed into place whole
