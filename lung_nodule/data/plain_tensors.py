"""MONAI's transforms without MetaTensors, for the random transforms of every epoch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from monai.data import get_track_meta, set_track_meta


class _Tracking:
    """MONAI's setting is one for the whole process: the first thread that asks keeps it, the last one puts it back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.before = True

    def stop(self) -> None:
        with self.lock:
            if self.users == 0:
                self.before = get_track_meta()
                set_track_meta(False)
            self.users += 1

    def resume(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                set_track_meta(self.before)


_tracking = _Tracking()


@contextmanager
def plain_tensors() -> Iterator[None]:
    """Context in which MONAI's transforms give plain tensors of the same values.

    Affine matrices and applied operations, which nothing reads after a training crop is cut, take a third to a half of
    the time of random transforms. Afterwards MONAI tracks metadata again if it did before.
    """
    _tracking.stop()
    try:
        yield
    finally:
        _tracking.resume()
