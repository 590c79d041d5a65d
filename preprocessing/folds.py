"""Cross-validation folds: by patient, stratified by malignancy, the same on every machine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

HOLDOUT = "holdout"
FOLDS = 5


def holdout_patients() -> frozenset[str]:
    """The 334 patients that no training, tuning, pretraining or phantom may use."""
    return frozenset(Path(__file__).with_name("holdout_patients.txt").read_text(encoding="utf-8").split())


def assign_folds(
    nodules: pd.DataFrame,
    patients: Sequence[str],
    *,
    holdout: Collection[str],
    folds: int = FOLDS,
) -> pd.DataFrame:
    """Give every patient one fold, so that the folds look alike in malignancy and size.

    Malignancy counts in three classes: mean rating below 3, exactly 3, above 3. The patients that weigh most are placed
    first, each into the fold where it keeps the classes most even; ties go to the fold with fewer patients, then to the
    lower number. Nothing is random, and any number of patients works.

    Args:
        nodules: table with ``patient_id`` and ``malignancy_mean``.
        patients: all patients, those without nodules included.
        holdout: patients marked ``holdout`` instead.
        folds: number of folds.

    Returns:
        Table of ``patient_id`` and ``fold`` (text: ``0`` to ``4`` or ``holdout``), ordered by patient.
    """
    everyone = sorted(set(patients))
    held = {patient for patient in everyone if patient in holdout}
    counts = class_counts(nodules, everyone).drop(index=list(held))
    fold_of = dict.fromkeys(held, HOLDOUT) | _place_greedily(counts, folds)
    return pd.DataFrame({"patient_id": everyone, "fold": [fold_of[patient] for patient in everyone]})


def class_counts(nodules: pd.DataFrame, patients: Sequence[str]) -> pd.DataFrame:
    """Nodules per patient (rows) in the classes benign (mean < 3), uncertain (= 3), malignant (> 3)."""
    mean = nodules["malignancy_mean"].astype(float)
    classes = {"benign": mean < 3, "uncertain": mean == 3, "malignant": mean > 3}
    table = pd.DataFrame({name: members.groupby(nodules["patient_id"]).sum() for name, members in classes.items()})
    return table.reindex(patients, fill_value=0).astype(int)


def _place_greedily(counts: pd.DataFrame, folds: int) -> dict[str, str]:
    share = counts.to_numpy() / np.maximum(counts.to_numpy().sum(axis=0), 1)  # a rare class weighs as much as a common
    order = sorted(range(len(counts)), key=lambda at: (-share[at].sum(), counts.index[at]))
    filled, members = np.zeros((folds, share.shape[1])), np.zeros(folds, dtype=int)
    fold_of = {}
    for at in order:
        unevenness = []
        for fold in range(folds):
            trial = filled.copy()
            trial[fold] += share[at]
            unevenness.append((round(float(trial.std(axis=0).sum()), 12), int(members[fold]), fold))
        chosen = min(unevenness)[-1]
        filled[chosen] += share[at]
        members[chosen] += 1
        fold_of[counts.index[at]] = str(chosen)
    return fold_of
