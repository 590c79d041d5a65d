"""Training, validation and test nodules of the baselines, the same as those of the networks."""

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
        train: nodules on which models are fitted.
        validation: nodules on which thresholds are chosen.
        test: nodules to predict, with their own ``fold``.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame

    def with_validation(self) -> Split:
        """The same split with the validation nodules added to the training nodules."""
        return replace(self, train=pd.concat([self.train, self.validation]))


def cross_validation(nodules: pd.DataFrame, folds: Sequence[int]) -> list[Split]:
    """One split per test fold: the next fold validates, the other three train.

    Args:
        nodules: nodules of all five folds.
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
    """Split that tests all nodules of a dataset and fits on another dataset, whose last fold validates.

    Raises:
        InputError: the other dataset has a single fold.
    """
    train, last = _fitting_folds(fitted_on)
    inside = fitted_on["fold"].isin(train)
    return Split(fitted_on[inside], fitted_on[fitted_on["fold"] == last], nodules)


def refuse_one_class(fitted_on: pd.DataFrame) -> None:
    """Refuse to fit baselines on another dataset whose training folds lack a class, before any weights are tested.

    Args:
        fitted_on: nodules of the other dataset, with ``fold`` and ``malignant``.

    Raises:
        InputError: a class is missing, or the dataset has a single fold.
    """
    train, last = _fitting_folds(fitted_on)
    classes = set(fitted_on.loc[fitted_on["fold"].isin(train), "malignant"].dropna())
    if len(classes) < 2:
        found = {0.0: "only benign", 1.0: "only malignant"}[classes.pop()] if classes else "no classified"
        raise InputError(
            f"--fit_dir holds {found} nodules in folds {train}, but the baselines need both classes there (fold {last} "
            "is used for thresholds): name another --fit_dir or leave it out"
        )


def _fitting_folds(fitted_on: pd.DataFrame) -> tuple[list[int], int]:
    """Training folds and validation fold of another dataset."""
    folds = sorted({int(fold) for fold in fitted_on["fold"]})
    if len(folds) < 2:
        raise InputError(
            f"--fit_dir needs nodules in at least two numbered folds (one is used for thresholds), but has folds "
            f"{folds}: name another dataset or leave it out"
        )
    return folds[:-1], folds[-1]
