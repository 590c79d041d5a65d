"""Shared-memory regions of a server's stubs, and removal of what killed servers left."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
HOME_PREFIX = "lung_nodule_triton_"
_LOCK = "lock"
_LONGEST_PATH = 4096
_LARGEST_BYTES, _SMALLEST_BYTES, _REGIONS = 16 * 2**20, 2**20, 64


def region_bytes() -> int:
    """Size in bytes with which a stub's region starts, and by which it grows.

    Triton's own 1 MB is less than a VOI: the region would grow, and be mapped again by both processes, while requests
    are under way. Where shared memory is scarce, as in a container, 64 regions take all of it.
    """
    free = shutil.disk_usage(SHARED_MEMORY).free
    return min(_LARGEST_BYTES, max(_SMALLEST_BYTES, free // _REGIONS // _SMALLEST_BYTES * _SMALLEST_BYTES))


class MemoryRegions:
    """Regions with a name prefix, owned by this process until it removes them or ends.

    A file next to them is locked. The operating system releases the lock when the process ends, and
    :func:`remove_abandoned` removes regions whose file is not locked, and the folder that it names.

    Args:
        prefix: name prefix, ``lung_nodule_..._``.
        home: temporary folder of the server, named by :data:`HOME_PREFIX`.
    """

    def __init__(self, prefix: str, home: Path) -> None:
        self._prefix = prefix
        unlocked = SHARED_MEMORY / f".{prefix}{_LOCK}"
        self._handle = os.open(unlocked, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        os.write(self._handle, os.fsencode(home))
        unlocked.rename(SHARED_MEMORY / f"{prefix}{_LOCK}")  # never visible to other processes without its lock

    def remove(self) -> None:
        """Remove the regions and their lock; call once."""
        _remove(self._prefix)
        os.close(self._handle)


def remove_abandoned() -> None:
    """Remove the regions and the temporary folders of this user's servers whose process was killed."""
    for path in SHARED_MEMORY.glob(f"lung_nodule_*_{_LOCK}"):
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:  # another user's, or removed since
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_home(handle)
            _remove(path.name.removesuffix(_LOCK))
        except BlockingIOError:
            pass  # the server is running
        finally:
            os.close(handle)


def _remove_home(handle: int) -> None:
    """Remove the folder that a lock file of this user names."""
    home = Path(os.fsdecode(os.read(handle, _LONGEST_PATH)))
    if os.fstat(handle).st_uid == os.getuid() and home.name.startswith(HOME_PREFIX):
        shutil.rmtree(home, ignore_errors=True)


def _remove(prefix: str) -> None:
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
