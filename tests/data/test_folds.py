"""Folds of a training, validation and test."""

from __future__ import annotations

import pytest

from lung_nodule.data import training_folds, validation_fold
from lung_nodule.lidc import FOLDS, LUNA16_FOLDS


@pytest.mark.parametrize("folds", [FOLDS, LUNA16_FOLDS])
def test_test_validation_and_training_folds_are_all_folds_and_share_none(folds: int) -> None:
    for fold in range(folds):
        validation = validation_fold(fold, folds=folds)
        assert sorted([fold, validation, *training_folds(fold, validation, folds=folds)]) == list(range(folds))


def test_lidcs_folds_are_the_default() -> None:
    assert validation_fold(4) == 0
    assert training_folds(0, 1) == [2, 3, 4]
