"""The bootstrap over patients: of an AUC or a mean in one matrix, of any statistic draw by draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

DRAWS = 1000
MISSING_DRAWS = 0.05


class PatientBootstrap:
    """Draws of patients with replacement; what is drawn of a patient is drawn of all its nodules.

    Figures of several methods from one object are paired: draw by draw they see the same patients.

    Args:
        patients: the patient of every row that may be asked about; repeated names are one patient.
        draws: number of bootstrap samples.
        seed: random seed; the same patients in the same order give the same draws.

    Example:
        >>> import numpy as np
        >>> from lung_nodule.evaluation import PatientBootstrap
        >>> bootstrap = PatientBootstrap(["a", "a", "b", "c"])
        >>> [round(edge, 3) for edge in bootstrap.interval(bootstrap.means([0.8, 0.8, 0.7, 0.9], ["a", "a", "b", "c"]))]
        [0.7, 0.9]
    """

    def __init__(self, patients: Sequence[str], *, draws: int = DRAWS, seed: int = 0) -> None:
        self.index = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
        count = len(self.index)
        drawn = np.random.default_rng(seed).integers(count, size=(draws, count))
        drawn += np.arange(draws)[:, None] * count
        self.times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count).astype(np.float32)

    def once(self) -> PatientBootstrap:
        """The same patients, each drawn once: figures of the data themselves, in the same way."""
        whole = PatientBootstrap(list(self.index), draws=1)
        whole.times[:] = 1
        return whole

    def weights(self, patients: Sequence[str]) -> np.ndarray:
        """float32 ``[draws, N]``: how often each draw holds each row."""
        return self.times[:, [self.index[patient] for patient in patients]]

    def means(self, values: Sequence[float] | np.ndarray, patients: Sequence[str]) -> np.ndarray:
        """``[draws]`` means of values; NaN where a draw holds none of their patients."""
        weights = self.weights(patients)
        with np.errstate(invalid="ignore"):
            return weights @ np.asarray(values, dtype=np.float64) / weights.sum(axis=1, dtype=np.float64)

    def aucs(self, score: np.ndarray, label: np.ndarray, patients: Sequence[str]) -> np.ndarray:
        """``[draws]`` areas under the ROC curve, ties counted half; NaN where a draw lacks a class."""
        return weighted_aucs(score, label, self.weights(patients))

    def interval(self, values: np.ndarray, *, level: float = 0.95) -> list[float] | None:
        """``[low, high]`` as :func:`percentile_interval`; None with fewer than two patients."""
        return percentile_interval(values, level=level) if len(self.index) > 1 else None


def bootstrap_interval(
    table: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float],
    *,
    group: str = "patient_id",
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[float] | None:
    """Percentile bootstrap interval of a statistic over patients, whose nodules are drawn together.

    Args:
        table: table with a row per nodule; fewer columns are faster.
        statistic: function from rows (without the column ``group``) to a number; NaN where a class is missing.
        group: name of the patients' column.
        draws: number of bootstrap samples.
        level: coverage of the interval.
        seed: random seed; the same table gives the same interval.

    Returns:
        ``[low, high]`` as :func:`percentile_interval`; None with fewer than two patients.

    Example:
        >>> import pandas as pd
        >>> from lung_nodule.evaluation import bootstrap_interval
        >>> nodules = pd.DataFrame({"patient_id": ["a", "a", "b", "c"], "dice": [0.8, 0.8, 0.7, 0.9]})
        >>> [round(edge, 3) for edge in bootstrap_interval(nodules, lambda rows: rows["dice"].mean())]
        [0.7, 0.9]
    """
    rows = [np.flatnonzero(table[group] == patient) for patient in table[group].unique()]
    if len(rows) < 2:
        return None
    random = np.random.default_rng(seed)
    values = [
        statistic(table.iloc[np.concatenate([rows[i] for i in random.integers(len(rows), size=len(rows))])])
        for _ in range(draws)
    ]
    return percentile_interval(np.asarray(values), level=level)


def percentile_interval(values: np.ndarray, *, level: float = 0.95) -> list[float] | None:
    """Percentile interval ``[low, high]`` of the bootstrap draws that are numbers.

    None where more than one draw in twenty is not a number: so few patients of a class say nothing of its spread.
    """
    finite = np.isfinite(values)
    if not len(values) or finite.mean() < 1 - MISSING_DRAWS:
        return None
    tail = (1 - level) / 2
    return [float(np.quantile(values[finite], q)) for q in (tail, 1 - tail)]


def weighted_aucs(score: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Areas under the ROC curve of weighted rows, by the ranks of one sort.

    Args:
        score: ``[N]``, not NaN.
        label: ``[N]``, 1 for positive and 0 for negative rows.
        weights: ``[draws, N]``, at least 0.

    Returns:
        float64 ``[draws]``; NaN where a class has no weight.
    """
    if not len(score):
        return np.full(len(weights), np.nan)
    order = np.argsort(score, kind="stable")
    score, positive = score[order], label[order] > 0.5
    weights = weights[:, order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])
    ones = np.add.reduceat(weights * positive, starts, axis=1)
    zeros = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = np.cumsum(zeros, axis=1) - zeros / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return (ones * below).sum(axis=1) / (ones.sum(axis=1) * zeros.sum(axis=1))
