"""The folds for validation and training, given the test fold."""

from __future__ import annotations

from lung_nodule.lidc import FOLDS


def validation_fold(fold: int, *, folds: int = FOLDS) -> int:
    """The fold after the test fold; it selects the weights.

    Args:
        fold: number of the test fold.
        folds: how many there are.
    """
    return (fold + 1) % folds


def training_folds(*others: int, folds: int = FOLDS) -> list[int]:
    """All folds but these.

    Args:
        others: numbers of the test fold and of the validation fold.
        folds: how many there are.
    """
    return [fold for fold in range(folds) if fold not in others]
