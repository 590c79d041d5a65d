"""A linear read-out that joins a network's scores with what the nodule measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...lidc import HIGHEST_RATING
from .prediction import Prediction

SMALLEST_PROBABILITY = 1e-6
NETWORK_SCORE = "network_prob"
"""The name under which a prediction keeps the network's own score."""


@dataclass(frozen=True)
class Linear:
    """One output: ``weights`` of the standardized features, and the constant."""

    weights: tuple[float, ...]
    intercept: float

    def __call__(self, standardized: np.ndarray) -> float:
        """``[F]`` -> the weighted sum."""
        return float(np.dot(self.weights, standardized) + self.intercept)


@dataclass(frozen=True)
class Readout:
    """From a nodule's features to its malignancy (logistic) and its attributes (linear), fitted after the training.

    Attributes:
        features: names, as :func:`features_of` gives them.
        mean: of each feature where it was fitted.
        deviation: standard deviation of each feature there, above 0.
        malignancy: its logit.
        attributes: the ratings that are read out, by name, on the readers' scales.
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    malignancy: Linear
    attributes: Mapping[str, Linear]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any] | None) -> Readout | None:
        """From a side file's ``readout``; None where there is none.

        Raises:
            ValueError: lengths differ, or a deviation is 0.
        """
        if settings is None:
            return None
        features = tuple(map(str, settings["features"]))
        mean, deviation = (tuple(map(float, settings[name])) for name in ("mean", "deviation"))
        outputs = {name: _linear(entry) for name, entry in settings["outputs"].items()}
        lengths = {len(mean), len(deviation), *(len(output.weights) for output in outputs.values())}
        if lengths != {len(features)} or min(deviation) <= 0:
            raise ValueError(f"a read-out of {len(features)} features needs as many means, deviations above 0, weights")
        return cls(features, mean, deviation, outputs.pop("malignancy"), outputs)

    def __call__(self, prediction: Prediction, measured: Mapping[str, float]) -> Prediction:
        """The prediction with what is read out in place of the network's own; that score is kept beside it.

        Args:
            prediction: of the network.
            measured: of the nodule. Where one is not a number (an empty mask) the prediction stays the network's.
        """
        assert prediction.score is not None, "a read-out needs a network with a score"
        others = {**prediction.other_scores, NETWORK_SCORE: prediction.score}
        found = features_of(prediction, measured)
        values = np.array([found[name] for name in self.features])
        if not np.isfinite(values).all():
            return replace(prediction, other_scores=others)
        standardized = (values - self.mean) / self.deviation
        ratings = {name: _within(name, output(standardized)) for name, output in self.attributes.items()}
        return replace(
            prediction,
            score=float(1 / (1 + np.exp(-self.malignancy(standardized)))),
            attributes={**prediction.attributes, **ratings},
            other_scores=others,
        )


def features_of(prediction: Prediction, measured: Mapping[str, float]) -> dict[str, float]:
    """A nodule's features by name: ``logit`` of the network's score, its ratings, and the measurements."""
    assert prediction.score is not None, "a read-out needs a network with a score"
    return {"logit": logit(prediction.score), **prediction.attributes, **measured}


def logit(probability: float) -> float:
    """Logarithm of the odds, of a probability kept away from 0 and 1."""
    kept = min(max(probability, SMALLEST_PROBABILITY), 1 - SMALLEST_PROBABILITY)
    return float(np.log(kept / (1 - kept)))


def _linear(entry: Mapping[str, Any]) -> Linear:
    return Linear(tuple(map(float, entry["weights"])), float(entry["intercept"]))


def _within(name: str, rating: float) -> float:
    return float(np.clip(rating, 1, HIGHEST_RATING[name]))
