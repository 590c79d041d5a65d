"""How the probabilities of a method came out in its cross-validation, as the server's parameters carry it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import sqrt

_Z = 1.96
"""Of a 95 % interval."""


@dataclass(frozen=True)
class Bin:
    """The nodules that were given a probability between two bounds.

    Attributes:
        lower: smallest probability.
        upper: the one above the largest; 1 belongs to the last bin.
        nodules: how many there were; of several trainings the mean.
        malignant: how many of them their readers rated malignant.
        predicted: mean of their probabilities.
    """

    lower: float
    upper: float
    nodules: float
    malignant: float
    predicted: float

    @property
    def share(self) -> float:
        """Share of the malignant ones, 0..1."""
        return self.malignant / self.nodules

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of :attr:`share`, as if no two nodules were of one patient."""
        square = _Z**2 / self.nodules
        middle, half = self.share + square / 2, _Z * sqrt((self.share * (1 - self.share) + square / 4) / self.nodules)
        return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


@dataclass(frozen=True)
class Calibration:
    """The bins that hold nodules, and where they are from.

    Attributes:
        source: nodules, patients and protocol, in words.
        bins: by ascending probability.
    """

    source: str
    bins: tuple[Bin, ...]

    def bin_of(self, probability: float) -> Bin | None:
        """The bin of a probability; None where no nodule was given one like it, or it is NaN."""
        inside = (found for found in self.bins if found.lower <= probability < found.upper)
        at_one = self.bins[-1] if self.bins and probability == self.bins[-1].upper == 1 else None
        return next(inside, at_one)


def calibrations(text: str) -> dict[str, Calibration]:
    """Calibration by model, of the parameter ``calibration``; empty where a model was never cross-validated.

    Args:
        text: JSON, for each model ``source``, ``edges`` ``[B + 1]``, and of each bin ``nodules``, ``malignant`` and
            ``predicted`` ``[B]`` (None in a bin without nodules); or "".
    """
    return {name: _calibration(table) for name, table in json.loads(text or "{}").items()}


def _calibration(table: dict) -> Calibration:
    columns = [table[name] for name in ("nodules", "malignant", "predicted")]
    rows = zip(table["edges"][:-1], table["edges"][1:], *columns, strict=True)
    return Calibration(table["source"], tuple(Bin(*row) for row in rows if row[2]))
