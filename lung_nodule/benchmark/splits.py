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
    train, last = _fitting_folds(fitted_on)
    inside = fitted_on["fold"].isin(train)
    return Split(fitted_on[inside], fitted_on[fitted_on["fold"] == last], nodules)


def refuse_one_class(fitted_on: pd.DataFrame) -> None:
    """Refuse to fit baselines on another dataset whose training folds lack a class, before any weights are tested.

    Args:
        fitted_on: its nodules, with ``fold`` and ``malignant``.

    Raises:
        InputError: they do, or it has a single fold.
    """
    train, last = _fitting_folds(fitted_on)
    classes = set(fitted_on.loc[fitted_on["fold"].isin(train), "malignant"].dropna())
    if len(classes) < 2:
        found = {0.0: "only benign", 1.0: "only malignant"}[classes.pop()] if classes else "no classified"
        raise InputError(
            f"--fit_dir holds {found} nodules in folds {train}, on which baselines are fitted (fold {last} is for "
            "thresholds), and they need both classes: name another --fit_dir or leave it out"
        )


def _fitting_folds(fitted_on: pd.DataFrame) -> tuple[list[int], int]:
    """The folds of another dataset that train, and the one that validates."""
    folds = sorted({int(fold) for fold in fitted_on["fold"]})
    if len(folds) < 2:
        raise InputError(f"--fit_dir needs two numbered folds, one of them for thresholds, and has {folds}")
    return folds[:-1], folds[-1]
