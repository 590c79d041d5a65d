"""The readers' ratings as a nodule's measurements alone give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...lidc import HIGHEST_RATING

OF_MEASUREMENTS = "measured_"
"""Prefix of the names of these ratings."""


@dataclass(frozen=True, eq=False)
class MeasuredRatings:
    """Regression of ratings on measurements with radial basis functions, which a support vector regression has fitted.

    The rating of standardized measurements x is ``intercept + sum_n weights[n] exp(-gamma |x - support[n]|^2)``.

    Attributes:
        features: names of the F measurements.
        mean: ``[F]`` mean of each on the nodules of the fit.
        deviation: ``[F]`` standard deviation of each, above 0.
        support: ``[N, F]`` standardized measurements of the nodules of the fit.
        gamma: factor of the squared distance.
        weights: ``[N]`` by name of the rating: ``malignancy`` or one of :data:`lung_nodule.lidc.ATTRIBUTES`.
        intercepts: constant by name of the rating.
    """

    features: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    support: np.ndarray
    gamma: float
    weights: Mapping[str, np.ndarray]
    intercepts: Mapping[str, float]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any] | None) -> MeasuredRatings | None:
        """From a read-out's ``measured``, whose numbers are text with spaces between them; None if it has none.

        Raises:
            ValueError: the numbers do not fit together, or a deviation is not above 0.
        """
        if settings is None:
            return None
        mean, deviation = _numbers(settings["mean"]), _numbers(settings["deviation"])
        support = np.array([_numbers(row) for row in settings["support"]])
        weights = {name: _numbers(entry["weights"]) for name, entry in settings["ratings"].items()}
        features = tuple(settings["features"])
        wrong = {name for name, values in weights.items() if values.shape != support.shape[:1]}
        if wrong or support.shape[1:] != (len(features),) or not mean.shape == deviation.shape == (len(features),):
            raise ValueError(f"measured ratings of {len(features)} features, with other numbers of values")
        if not (deviation > 0).all():
            raise ValueError("measured ratings need deviations above 0")
        intercepts = {name: float(entry["intercept"]) for name, entry in settings["ratings"].items()}
        return cls(features, mean, deviation, support, float(settings["gamma"]), weights, intercepts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the ratings, with the prefix :data:`OF_MEASUREMENTS`."""
        return tuple(f"{OF_MEASUREMENTS}{name}" for name in self.weights)

    def __call__(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Ratings on the readers' scales, by name with the prefix :data:`OF_MEASUREMENTS`.

        Args:
            measured: measurements by name. Where one is not a number (an empty mask), neither are the ratings.
        """
        standardized = (np.array([measured[name] for name in self.features]) - self.mean) / self.deviation
        near = np.exp(-self.gamma * ((self.support - standardized) ** 2).sum(axis=1))
        found = {name: float(weights @ near) + self.intercepts[name] for name, weights in self.weights.items()}
        return {f"{OF_MEASUREMENTS}{name}": _within(name, value) for name, value in found.items()}


def _numbers(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.float64)


def _within(name: str, rating: float) -> float:
    return float(np.clip(rating, 1, HIGHEST_RATING[name]))
