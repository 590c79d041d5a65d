"""Calibration of a method in its cross-validation, as stored in the parameters of the served model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import sqrt

_Z = 1.96
"""Normal quantile of a 95 % interval."""


@dataclass(frozen=True)
class Bin:
    """Nodules with a predicted probability between two bounds.

    Attributes:
        lower: lower bound, inclusive.
        upper: upper bound, exclusive; 1 belongs to the last bin.
        nodules: number of nodules; the mean over several trainings.
        malignant: number of nodules rated malignant by the readers.
        predicted: mean predicted probability.
    """

    lower: float
    upper: float
    nodules: float
    malignant: float
    predicted: float

    @property
    def share(self) -> float:
        """Share of malignant nodules, 0..1."""
        return self.malignant / self.nodules

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson 95 % interval of :attr:`share`, which treats nodules as independent."""
        square = _Z**2 / self.nodules
        middle, half = self.share + square / 2, _Z * sqrt((self.share * (1 - self.share) + square / 4) / self.nodules)
        return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


@dataclass(frozen=True)
class Calibration:
    """Calibration bins that contain nodules.

    Attributes:
        source: text on nodules, patients and protocol.
        bins: bins by ascending probability.
    """

    source: str
    bins: tuple[Bin, ...]

    def bin_of(self, probability: float) -> Bin | None:
        """Bin of a probability; None if there is no such bin or the probability is NaN."""
        inside = (found for found in self.bins if found.lower <= probability < found.upper)
        at_one = self.bins[-1] if self.bins and probability == self.bins[-1].upper == 1 else None
        return next(inside, at_one)


def calibrations(text: str) -> dict[str, Calibration]:
    """Parse the parameter ``calibration`` to the calibration by model; models without cross-validation are missing.

    Args:
        text: JSON with, for each model, ``source``, ``edges`` ``[B + 1]``, ``nodules``, ``malignant`` and ``predicted``
            ``[B]`` (None in a bin without nodules); or "".
    """
    return {name: _calibration(table) for name, table in json.loads(text or "{}").items()}


def _calibration(table: dict) -> Calibration:
    columns = [table[name] for name in ("nodules", "malignant", "predicted")]
    rows = zip(table["edges"][:-1], table["edges"][1:], *columns, strict=True)
    return Calibration(table["source"], tuple(Bin(*row) for row in rows if row[2]))
