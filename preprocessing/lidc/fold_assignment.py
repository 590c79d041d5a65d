"""Assignment of the committed folds from the annotation database, the hold-out list and the published folds.

``folds/published.csv`` holds the folds of the 369 patients whose volumes of interest are distributed with the
project. They were computed from the table of those nodules with scikit-learn's StratifiedGroupKFold (five folds,
shuffled with seed 0), with the classes mean malignancy below, at and above 3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from lung_nodule.holdout import HOLDOUT, holdout_patients
from lung_nodule.io import read_table
from lung_nodule.lidc import FOLDS
from preprocessing.lidc.cohorts import chosen_nodules, class_counts
from preprocessing.lidc.database import scans
from preprocessing.lidc.folds import COLUMNS, fold_file
from preprocessing.lidc.presets import PRESETS


def make_folds() -> dict[str, pd.DataFrame]:
    """The folds of every preset, ``patient_id`` and ``fold``, ordered by patient.

    The 369 patients of the published volumes of interest keep their published folds. ``assign_folds`` then
    assigns all others: first those with a nodule of ``benchmark``, to balance its folds, then the rest, to balance the
    folds of all nodules. Each preset gets the patients with a nodule of its own.
    """
    tables = {name: pd.DataFrame(row for *_, row in chosen_nodules(preset)) for name, preset in PRESETS.items()}
    everyone = sorted({scan.patient_id for scan in scans()})
    placed = dict(read_table(fold_file("published"), required=COLUMNS)[COLUMNS].itertuples(index=False))
    for name, patients in (("benchmark", tables["benchmark"]["patient_id"].tolist()), ("all", everyone)):
        folds = assign_folds(tables[name], patients, holdout=holdout_patients(), placed=placed)
        placed = dict(folds.query("fold != @HOLDOUT").itertuples(index=False))
    chosen = {name: everyone if name == "all" else table["patient_id"] for name, table in tables.items()}
    return {name: folds[folds["patient_id"].isin(own)].reset_index(drop=True) for name, own in chosen.items()}


def fold_summary(folds: pd.DataFrame, nodules: pd.DataFrame, *, statistic: str = "mean") -> pd.DataFrame:
    """Patients and nodules per class (columns) in each fold and in the hold-out (rows)."""
    fold_of = folds.set_index("patient_id")["fold"]
    counts = class_counts(nodules, fold_of.index.tolist(), statistic=statistic).groupby(fold_of).sum()
    order = [*map(str, range(FOLDS)), HOLDOUT]
    return counts.assign(patients=fold_of.value_counts()).reindex(order, fill_value=0)


def assign_folds(
    nodules: pd.DataFrame,
    patients: Sequence[str],
    *,
    holdout: Collection[str],
    placed: Mapping[str, str] | None = None,
    folds: int = FOLDS,
) -> pd.DataFrame:
    """Assign every patient to one fold, balancing malignancy and size.

    Malignancy counts in three classes: mean rating below 3, exactly 3, above 3. The patients that weigh most are
    assigned first, each to the fold where it keeps the classes most even; ties go to the fold with fewer patients, then
    to the lower number. The assignment is deterministic.

    Args:
        nodules: table with ``patient_id`` and ``malignancy_mean``.
        patients: all patients, including those without nodules.
        holdout: patients marked ``holdout`` instead.
        placed: patients that already have a fold and keep it.
        folds: number of folds.

    Returns:
        Table of ``patient_id`` and ``fold`` (text: ``0`` to ``4`` or ``holdout``), ordered by patient.
    """
    everyone = sorted(set(patients))
    held = {patient for patient in everyone if patient in holdout}
    kept = {patient: fold for patient, fold in (placed or {}).items() if patient in everyone and patient not in held}
    counts = class_counts(nodules, everyone).drop(index=list(held))
    fold_of = dict.fromkeys(held, HOLDOUT) | _place_greedily(counts, kept, folds)
    return pd.DataFrame({"patient_id": everyone, "fold": [fold_of[patient] for patient in everyone]})


def _place_greedily(counts: pd.DataFrame, placed: Mapping[str, str], folds: int) -> dict[str, str]:
    # A rare class weighs as much as a common one.
    share = counts.to_numpy() / np.maximum(counts.to_numpy().sum(axis=0), 1)
    filled, members = np.zeros((folds, share.shape[1])), np.zeros(folds, dtype=int)
    fold_of = dict(placed)
    for patient, fold in placed.items():
        filled[int(fold)] += share[counts.index.get_loc(patient)]
        members[int(fold)] += 1
    waiting = [at for at, patient in enumerate(counts.index) if patient not in placed]
    for at in sorted(waiting, key=lambda at: (-share[at].sum(), counts.index[at])):
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
