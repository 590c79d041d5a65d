"""A lock that lets one run at a time write to a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lung_nodule.errors import InputError


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Create the folder and lock it until the block ends; the operating system releases the lock with the process.

    Folders created here are removed again if the block leaves them empty.

    Raises:
        InputError: another run has locked the folder.
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
    """Remove folders, innermost first, up to the first that is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"another run is writing to {folder}: wait for its end, or name another folder") from error
    except OSError:
        pass  # some network file systems cannot lock folders; files are renamed into place in any case
