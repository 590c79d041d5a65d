"""A linear read-out that joins a network's scores with measurements of the nodule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...lidc import HIGHEST_RATING
from .measured_ratings import OF_MEASUREMENTS, MeasuredRatings
from .prediction import Prediction

SMALLEST_PROBABILITY = 1e-6
NETWORK_SCORE = "network_prob"
"""The name under which a prediction keeps the network's own score."""
OF_NETWORK = "_network"
"""Suffix of the names under which it keeps the network's own ratings."""
LOGIT = "_logit"
"""Suffix of the names of its attributes' logits."""
MOMENTS = ("mean", "deviation")


@dataclass(frozen=True)
class Linear:
    """One output: the weight of each standardized feature that it takes, and the constant."""

    weights: Mapping[str, float]
    intercept: float

    def __call__(self, standardized: Mapping[str, float]) -> float:
        """Standardized features by name -> the weighted sum."""
        return sum((weight * standardized[name] for name, weight in self.weights.items()), start=self.intercept)


@dataclass(frozen=True)
class Readout:
    """From a nodule's features to its malignancy (logistic) and its attributes (linear), fitted after the training.

    Attributes:
        mean: mean of each feature on the nodules of the fit, by the names of :func:`features_of`.
        deviation: standard deviation of each feature on these nodules, above 0.
        outputs: ``malignancy``, its logit, and the ratings that are read out, on the readers' scales.
        measured: ratings that the measurements alone give, further features; None where no output takes one.
    """

    mean: Mapping[str, float]
    deviation: Mapping[str, float]
    outputs: Mapping[str, Linear]
    measured: MeasuredRatings | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any] | None, *, complete: bool = True) -> Readout | None:
        """Read-out from a side file's ``readout``; None if the side file has none.

        Args:
            settings: the entry of the side file.
            complete: whether the ratings that the measurements alone give must be there, where an output takes one; a
                read-out on its way to a model lacks them.

        Raises:
            ValueError: an output takes a feature without a mean or a deviation above 0, or a rating that is not there,
                or there is no malignancy.
        """
        if settings is None:
            return None
        mean, deviation = ({name: float(value) for name, value in settings[key].items()} for key in MOMENTS)
        outputs = {name: _linear(entry) for name, entry in settings["outputs"].items()}
        measured = MeasuredRatings.from_settings(settings.get("measured"))
        taken = {feature for output in outputs.values() for feature in output.weights}
        unknown = sorted(name for name in taken if name not in mean or not deviation.get(name, 0.0) > 0)
        rated = {name for name in taken if name.startswith(OF_MEASUREMENTS)}
        missing = sorted(rated - set(measured.names if measured else ()))
        if unknown:
            raise ValueError(f"a read-out needs a mean and a deviation above 0 of {', '.join(unknown)}")
        if "malignancy" not in outputs:
            raise ValueError("a read-out needs the output malignancy")
        if complete and missing:
            raise ValueError(f"a read-out needs measured ratings that give {', '.join(missing)}")
        return cls(mean, deviation, outputs, measured)

    def rate(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Measurements with the ratings that they alone give, where the read-out takes some."""
        return {**measured, **({} if self.measured is None else self.measured(measured))}

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with the read-out values in place of the network's own, which ``other_scores`` keeps.

        The network's score is kept as :data:`NETWORK_SCORE`, its ratings as ``<attribute>_network``.

        Args:
            prediction: the network's prediction with what :meth:`rate` makes of the nodule's measurements. Where one
                is not a number (an empty mask) the prediction stays the network's.
        """
        assert prediction.score is not None, "a read-out needs a network with a score"
        found = features_of(prediction)
        standardized = {name: (found[name] - mean) / self.deviation[name] for name, mean in self.mean.items()}
        own = {name: value for name, value in prediction.attributes.items() if name in self.outputs}
        kept = {NETWORK_SCORE: prediction.score, **{f"{name}{OF_NETWORK}": value for name, value in own.items()}}
        result = prediction.with_values(other_scores={**prediction.other_scores, **kept})
        if not np.isfinite(list(standardized.values())).all():
            return result
        values = {name: output(standardized) for name, output in self.outputs.items()}
        ratings = {name: _within(name, value) for name, value in values.items() if name != "malignancy"}
        score = float(1 / (1 + np.exp(-values["malignancy"])))
        return result.with_values(score=score, attributes={**prediction.attributes, **ratings})


def features_of(prediction: Prediction) -> dict[str, float]:
    """A nodule's features by name.

    ``logit`` of the network's score, its ratings, ``<attribute>_logit`` of its probabilities that one is high, and the
    measurements.
    """
    assert prediction.score is not None, "a read-out needs a network with a score"
    logits = {f"{name}{LOGIT}": logit(value) for name, value in prediction.attribute_probs.items()}
    return {"logit": logit(prediction.score), **prediction.attributes, **logits, **prediction.measured}


def logit(probability: float) -> float:
    """Logarithm of the odds, of a probability kept away from 0 and 1."""
    kept = min(max(probability, SMALLEST_PROBABILITY), 1 - SMALLEST_PROBABILITY)
    return float(np.log(kept / (1 - kept)))


def _linear(entry: Mapping[str, Any]) -> Linear:
    weights = {name: float(weight) for name, weight in entry["weights"].items()}
    return Linear(weights, float(entry["intercept"]))


def _within(name: str, rating: float) -> float:
    return float(np.clip(rating, 1, HIGHEST_RATING[name]))
