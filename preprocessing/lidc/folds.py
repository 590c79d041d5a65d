"""The committed cross-validation folds: by patient, stratified by malignancy.

``folds/all.csv`` assigns each of the 1010 patients a fold; ``folds/<preset>.csv`` is the part of it for the patients
with a nodule of that cohort. So training patients of one cohort are never test patients of another, and a patient's
fold does not depend on which others were converted. ``fold_assignment`` creates the files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lung_nodule.errors import InputError
from lung_nodule.io import read_table

HERE = Path(__file__).parent
COLUMNS = ["patient_id", "fold"]


def fold_file(preset: str) -> Path:
    """The committed file of a preset's folds."""
    return HERE / "folds" / f"{preset}.csv"


def committed_folds(patients: Iterable[str] | None = None) -> pd.DataFrame:
    """The committed folds.

    Args:
        patients: patients in any order, with or without repetitions; None for all 1010.

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
