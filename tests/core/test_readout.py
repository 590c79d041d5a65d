"""A read-out: what it joins, what it leaves, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lung_nodule.core import (
    NETWORK_SCORE,
    PlanesView,
    Prediction,
    Readout,
    SlicePatch,
    SquareView,
    features_of,
    logit,
)

PATCH = SlicePatch((8, 8, 4), (1.0, 1.0, 2.0), (4.0, 4.0, 2.0), 8.0, 16)
SETTINGS: dict[str, Any] = {
    "mean": {"logit": 0.5, "mask_log_volume": 6.0},
    "deviation": {"logit": 2.0, "mask_log_volume": 0.5},
    "outputs": {
        "malignancy": {"weights": {"logit": 1.0, "mask_log_volume": 0.5}, "intercept": -0.25},
        "lobulation": {"weights": {"mask_log_volume": 10.0}, "intercept": 2.0},
    },
}


def test_malignancy_is_logistic_and_ratings_are_linear_within_their_scale() -> None:
    readout = Readout.from_settings(SETTINGS)
    assert readout is not None
    given = Prediction(PATCH, 0.8, attributes={"lobulation": 1.5, "texture": 4.0}, other_scores={"other": 0.1})
    joined = readout(given.with_values(measured={"mask_log_volume": 5.9}))
    features = (np.array([np.log(0.8 / 0.2), 5.9]) - [0.5, 6.0]) / [2.0, 0.5]
    assert joined.score == pytest.approx(1 / (1 + np.exp(-(features @ [1.0, 0.5] - 0.25))))
    assert joined.attributes == {"lobulation": 1.0, "texture": 4.0}  # 0 is below the scale
    assert joined.other_scores == {"other": 0.1, NETWORK_SCORE: 0.8, "lobulation_network": 1.5}
    large = given.with_values(measured={"mask_log_volume": 7.0})
    assert readout(large).attributes["lobulation"] == 5.0


def test_without_a_mask_the_prediction_stays_the_networks() -> None:
    readout = Readout.from_settings(SETTINGS)
    assert readout is not None
    unmeasured = {"mask_log_volume": float("nan")}
    joined = readout(Prediction(PATCH, 0.3, attributes={"lobulation": 1.5}, measured=unmeasured))
    assert (joined.score, joined.attributes) == (0.3, {"lobulation": 1.5})


def test_a_model_without_a_readout_has_none() -> None:
    assert Readout.from_settings(None) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": {"logit": 0.5}}, "above 0 of mask_log_volume"),
        ({"deviation": {"logit": 0.0, "mask_log_volume": 1.0}}, "above 0 of logit"),
        ({"outputs": {"lobulation": {"weights": {}, "intercept": 2.0}}}, "the output malignancy"),
    ],
)
def test_a_readout_that_does_not_fit_together_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Readout.from_settings({**SETTINGS, **change})


def test_features_are_the_networks_and_the_measured() -> None:
    prediction = Prediction(PATCH, 1.0, attributes={"texture": 4.0}, measured={"a": 2.0})
    assert features_of(prediction) == {"logit": logit(1.0), "texture": 4.0, "a": 2.0}
    probable = prediction.with_values(attributes={}, attribute_probs={"texture": 0.25})
    assert features_of(probable) == {"logit": logit(1.0), "texture_logit": logit(0.25), "a": 2.0}
    assert np.isfinite(logit(1.0))
    assert logit(0.0) == pytest.approx(-logit(1.0))


def test_without_a_mask_or_a_diameter_the_density_at_the_centre_is_measured() -> None:
    """A calcified ball of 6 mm in the middle fills its share of the core's 10 mm; nothing tells the size."""
    view = PlanesView(patch_mm=32.0, image_size=32, weights=[1 / 9] * 9)
    ct = np.full((41, 41, 41), -850.0)
    inside = np.linalg.norm(np.moveaxis(np.indices(ct.shape), 0, -1) - 20, axis=-1)
    ct[inside <= 3] = 600.0
    spacing, center = (1.0, 1.0, 1.0), (20.0, 20.0, 20.0)
    measured = view.measure_nodule(ct, spacing, center)
    assert set(measured) == {"core_hu_mean", "core_hu_std", "core_hu_10", "core_hu_50", "core_hu_90", "core_calcified"}
    assert measured["core_calcified"] == pytest.approx((inside <= 3).sum() / (inside <= 5).sum())
    assert SquareView(image_size=32).measure_nodule(ct, spacing, center) == {}


def test_a_mask_is_made_once() -> None:
    maps = {"fine": np.zeros((4, 16, 16), dtype=np.float32)}
    prediction = Prediction(PATCH, 0.5, maps)
    assert prediction.with_values(score=0.6).mask is not prediction.mask  # nothing was made yet
    assert prediction.with_values(score=0.6).mask is prediction.mask
