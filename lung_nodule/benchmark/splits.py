"""What a baseline may see: the training, validation and test nodules of a fold, as those of the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
from lung_nodule.data import training_folds, validation_fold
from lung_nodule.errors import InputError


@dataclass(frozen=True)
class Split:
    """Nodules with their references and measurements.

    Attributes:
        train: what models are fitted on.
        validation: what thresholds are chosen on.
        test: what is predicted; its ``fold`` is the rows' own.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame

    def with_validation(self) -> Split:
        """The same with the validation nodules among those that models are fitted on."""
        return replace(self, train=pd.concat([self.train, self.validation]))


def cross_validation(nodules: pd.DataFrame, folds: Sequence[int]) -> list[Split]:
    """A split per test fold: the fold after it validates, the other three train.

    Args:
        nodules: of all five folds.
        folds: test folds.
    """
    splits = []
    for fold in folds:
        validation = validation_fold(fold)
        parts = (training_folds(fold, validation), [validation], [fold])
        splits.append(Split(*(nodules[nodules["fold"].isin(part)] for part in parts)))
    return splits


def refuse_shared(fitted_on: set[str], tested: set[str]) -> None:
    """Refuse to fit baselines on patients that they are tested on.

    Raises:
        InputError: a patient is in both.
    """
    shared = sorted(fitted_on & tested)
    if shared:
        raise InputError(
            f"{len(shared)} patients ({shared[0]}, ...) are in --fit_dir and in --dataset_dir: baselines must not be "
            "fitted on what they are tested on; name another --fit_dir or leave it out"
        )


def another_dataset(fitted_on: pd.DataFrame, nodules: pd.DataFrame) -> Split:
    """All nodules of a dataset as the test, fitted on another one, whose last fold validates.

    Raises:
        InputError: the other dataset has a single fold.
    """
    folds = sorted(set(fitted_on["fold"]))
    if len(folds) < 2:
        raise InputError(f"--fit_dir needs two numbered folds, one of them for thresholds, and has {folds}")
    last = fitted_on["fold"] == folds[-1]
    return Split(fitted_on[~last], fitted_on[last], nodules)
