"""How the committed folds are made: from the annotation database, the hold-out list and the published folds.

``folds/published.csv`` holds the folds of the 369 patients whose volumes of interest circulate with the project.
scikit-learn's StratifiedGroupKFold (five folds, shuffled with seed 0) gives them from those nodules' table, with the
classes mean malignancy below, at and above 3.
"""

from __future__ import annotations

import pandas as pd

from lung_nodule.holdout import HOLDOUT, holdout_patients
from lung_nodule.io import read_table

from .cohorts import chosen_nodules
from .database import scans
from .folds import COLUMNS, FOLDS, assign_folds, class_counts, fold_file
from .presets import PRESETS


def make_folds() -> dict[str, pd.DataFrame]:
    """The folds of every preset, ``patient_id`` and ``fold``, ordered by patient.

    The 369 patients of the published volumes of interest keep the folds that were published with them. All others are
    placed around them by ``assign_folds``: first those with a nodule of ``benchmark``, so that its folds are even, then
    the rest, so that all nodules together are. Every preset takes the patients with a nodule of its own.
    """
    tables = {name: pd.DataFrame(row for *_, row in chosen_nodules(preset)) for name, preset in PRESETS.items()}
    everyone = sorted({scan.patient_id for scan in scans()})
    placed = dict(read_table(fold_file("published"), required=COLUMNS)[COLUMNS].itertuples(index=False))
    for name, patients in (("benchmark", tables["benchmark"]["patient_id"]), ("all", everyone)):
        folds = assign_folds(tables[name], patients, holdout=holdout_patients(), placed=placed)
        placed = dict(folds.query("fold != @HOLDOUT").itertuples(index=False))
    chosen = {name: everyone if name == "all" else table["patient_id"] for name, table in tables.items()}
    return {name: folds[folds["patient_id"].isin(own)].reset_index(drop=True) for name, own in chosen.items()}


def fold_summary(folds: pd.DataFrame, nodules: pd.DataFrame, *, statistic: str = "mean") -> pd.DataFrame:
    """Patients and nodules per class (columns) in each fold and in the hold-out (rows)."""
    fold_of = folds.set_index("patient_id")["fold"]
    counts = class_counts(nodules, fold_of.index, statistic=statistic).groupby(fold_of).sum()
    order = [*map(str, range(FOLDS)), HOLDOUT]
    return counts.assign(patients=fold_of.value_counts()).reindex(order, fill_value=0)
