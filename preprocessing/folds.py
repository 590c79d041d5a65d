"""Cross-validation folds: by patient, stratified by malignancy, committed as files, the same for every use.

``folds/all.csv`` gives each of the 1010 patients its fold once and for all; ``folds/<preset>.csv`` is its part for the
patients with a nodule of that cohort. So what was trained on one cohort never meets its test patients in another, and a
patient's fold does not depend on who else was converted. ``fold_files`` tells how the files are made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lung_nodule.holdout import HOLDOUT
from lung_nodule.io import InputError, read_table

FOLDS = 5
HERE = Path(__file__).parent
COLUMNS = ["patient_id", "fold"]


def fold_file(preset: str) -> Path:
    """The committed file of a preset's folds."""
    return HERE / "folds" / f"{preset}.csv"


def committed_folds(patients: Iterable[str] | None = None) -> pd.DataFrame:
    """The committed folds.

    Args:
        patients: in any order, repeated or not; None for all 1010.

    Returns:
        Table of ``patient_id`` and ``fold`` (text: ``0`` to ``4`` or ``holdout``), ordered by patient.

    Raises:
        InputError: a patient is not of LIDC-IDRI.
    """
    table = read_table(fold_file("all"), required=COLUMNS)[COLUMNS]
    if patients is None:
        return table
    wanted = set(patients)
    unknown = sorted(wanted - set(table["patient_id"]))
    if unknown:
        raise InputError(f"no fold for {', '.join(unknown)}: not a patient of LIDC-IDRI")
    return table[table["patient_id"].isin(wanted)].reset_index(drop=True)


def assign_folds(
    nodules: pd.DataFrame,
    patients: Sequence[str],
    *,
    holdout: Collection[str],
    placed: Mapping[str, str] | None = None,
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
        placed: patients that have their fold already; they keep it, and the others are placed around them.
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


def class_counts(nodules: pd.DataFrame, patients: Sequence[str], *, statistic: str = "mean") -> pd.DataFrame:
    """Nodules per patient (rows) in the classes benign (< 3), uncertain (= 3), malignant (> 3).

    Args:
        nodules: table with ``patient_id`` and ``malignancy_<statistic>``.
        patients: the rows wanted.
        statistic: ``mean`` or ``median`` of the readers' ratings.
    """
    rating = nodules[f"malignancy_{statistic}"].astype(float)
    classes = {"benign": rating < 3, "uncertain": rating == 3, "malignant": rating > 3}
    table = pd.DataFrame({name: members.groupby(nodules["patient_id"]).sum() for name, members in classes.items()})
    return table.reindex(patients, fill_value=0).astype(int)


def _place_greedily(counts: pd.DataFrame, placed: Mapping[str, str], folds: int) -> dict[str, str]:
    share = counts.to_numpy() / np.maximum(counts.to_numpy().sum(axis=0), 1)  # a rare class weighs as much as a common
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
