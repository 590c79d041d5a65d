"""Exit with a one-line error if a dataset cannot be split into training, validation and test patients."""

from __future__ import annotations

import sys
from pathlib import Path

import fire

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's library, whatever is installed

from lung_nodule.data import labelled, nodule_datalist
from lung_nodule.errors import InputError


def check(dataset: str, fold: int = 0) -> None:
    """Check that the test, the validation and the training folds hold nodules, the last two of both classes.

    Args:
        dataset: folder of the dataset.
        fold: the test fold.
    """
    validation = (fold + 1) % 5
    training = [f for f in range(5) if f not in (fold, validation)]
    try:
        nodule_datalist(Path(dataset), folds=[fold])
        for folds in ([validation], training):
            labelled(nodule_datalist(Path(dataset), folds=folds))
    except InputError as error:
        sys.exit(f"too few scans to train and test on: {error}")


if __name__ == "__main__":
    fire.Fire(check)
