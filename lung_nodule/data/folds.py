"""The folds for validation and training, given the test fold."""

from __future__ import annotations

from lung_nodule.lidc import FOLDS

EVERY_FOLD = "all"
"""Value in place of the test fold: every fold is trained on, and none is left to validate or test."""


def validation_fold(fold: int | str, *, folds: int = FOLDS) -> int | None:
    """The fold after the test fold; it selects the weights. None where every fold is trained on.

    Args:
        fold: number of the test fold, or ``"all"``.
        folds: number of folds.
    """
    return None if isinstance(fold, str) else (fold + 1) % folds


def training_folds(fold: int | str, validation: int | None, *, folds: int = FOLDS) -> list[int]:
    """All folds but those of test and validation.

    Args:
        fold: number of the test fold, or ``"all"``.
        validation: number of the validation fold, or None.
        folds: number of folds.
    """
    return [number for number in range(folds) if number not in (fold, validation)]
