"""Shared-memory regions of a server's stubs, and removal of those left by killed servers."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_LOCK = "lock"


class MemoryRegions:
    """Regions with a name prefix, owned by this process until it removes them or ends.

    A file next to them is locked. The operating system releases the lock when the process ends, and
    :func:`remove_abandoned` removes regions whose file is not locked.

    Args:
        prefix: name prefix, ``lung_nodule_..._``.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        unlocked = SHARED_MEMORY / f".{prefix}{_LOCK}"
        self._handle = os.open(unlocked, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        unlocked.rename(SHARED_MEMORY / f"{prefix}{_LOCK}")  # never visible to other processes without its lock

    def remove(self) -> None:
        """Remove the regions and their lock; call once."""
        _remove(self._prefix)
        os.close(self._handle)


def remove_abandoned() -> None:
    """Remove the regions of this user's servers whose process was killed."""
    for path in SHARED_MEMORY.glob(f"lung_nodule_*_{_LOCK}"):
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:  # another user's, or removed since
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path.name.removesuffix(_LOCK))
        except BlockingIOError:
            pass  # the server is running
        finally:
            os.close(handle)


def _remove(prefix: str) -> None:
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
