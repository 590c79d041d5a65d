"""Write the committed folds of every preset (preprocessing/lidc/folds/*.csv) from the annotation database again, and
print the counts per fold. The files do not change if they are up to date; a test checks that too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lung_nodule.io import write_table
from preprocessing.lidc.cohorts import chosen_nodules
from preprocessing.lidc.fold_assignment import fold_summary, make_folds
from preprocessing.lidc.folds import fold_file
from preprocessing.lidc.presets import PRESETS

if __name__ == "__main__":
    for name, table in make_folds().items():
        write_table(fold_file(name), table)
        preset = PRESETS[name]
        nodules = pd.DataFrame(row for *_, row in chosen_nodules(preset))
        print(f"\n{name}\n{fold_summary(table, nodules, statistic=preset.statistic)}")
