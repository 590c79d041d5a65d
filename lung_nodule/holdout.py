"""The hold-out of LIDC-IDRI: one list, for the tables that mark it and the training that must not see it."""

from __future__ import annotations

import functools
from pathlib import Path

HOLDOUT = "holdout"
"""Entry of ``folds.csv`` in place of a fold's number."""
LIST = Path(__file__).with_name("holdout_patients.txt")


@functools.cache
def holdout_patients() -> frozenset[str]:
    """The 334 patients that no training, tuning, pretraining or phantom may use."""
    return frozenset(LIST.read_text(encoding="utf-8").split())
