"""Ratings that measurements alone give: scikit-learn's support vector regression, computed with numpy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import QuantileRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from lung_nodule.core import CubeView, MeasuredRatings, PlanesView, Readout, SquareView
from lung_nodule.errors import InputError
from lung_nodule.training import fitted_readout
from lung_nodule.training.readout.measured import fit_measured_ratings, fitted_measured_ratings
from lung_nodule.training.readout.regression import MEDIAN_PENALTY

RATINGS = ["malignancy", "calcification", "lobulation"]
MEASURED = ["mask_log_volume", "mask_calcified"]


def table(nodules: int = 80) -> pd.DataFrame:
    """Nodules whose ratings follow from both measurements, not linearly; one has no mask."""
    random = np.random.default_rng(0)
    size, calcified = random.normal(5, 1, nodules), random.random(nodules)
    rows = pd.DataFrame({"mask_log_volume": size, "mask_calcified": calcified})
    rows["malignancy_mean"] = np.clip(1 + (size - 4) ** 2 - 2 * calcified, 1, 5)
    rows["calcification_mean"] = np.where(calcified > 0.7, 3.0, 6.0)
    rows["lobulation_mean"] = np.clip(1 + np.abs(size - 5), 1, 5)
    rows.loc[3, "mask_log_volume"] = np.nan
    return rows


def ratings_of(settings: dict[str, Any]) -> MeasuredRatings:
    """As they are read from a side file."""
    ratings = MeasuredRatings.from_settings(json.loads(json.dumps(settings)))
    assert ratings is not None
    return ratings


def test_the_core_computes_what_scikit_learn_fitted() -> None:
    rows = table()
    usable, ratings = rows.dropna(), ratings_of(fitted_measured_ratings(rows, ratings=RATINGS))
    asked = pd.DataFrame({"mask_log_volume": np.linspace(3, 7, 20), "mask_calcified": np.linspace(1, 0, 20)})
    answers = pd.DataFrame([ratings(row) for row in asked.to_dict("records")])
    assert list(answers) == list(ratings.names) == [f"measured_{name}" for name in RATINGS]
    for name, most in (("malignancy", 5), ("calcification", 6), ("lobulation", 5)):
        model = make_pipeline(StandardScaler(), SVR(C=1.0, epsilon=0.0)).fit(usable[MEASURED], usable[f"{name}_mean"])
        expected = np.clip(model.predict(asked), 1, most)
        np.testing.assert_allclose(answers[f"measured_{name}"], expected, atol=2e-3)


def test_without_a_mask_nothing_is_rated() -> None:
    ratings = ratings_of(fitted_measured_ratings(table(), ratings=RATINGS))
    assert all(np.isnan(list(ratings(dict.fromkeys(MEASURED, float("nan"))).values())))


def test_numbers_that_do_not_fit_together_are_refused() -> None:
    settings = fitted_measured_ratings(table(), ratings=RATINGS)
    fewer = {"mean": "0"}, {"support": settings["support"][1:]}, {"features": ["a"]}
    for change in (*fewer, {"deviation": "1 0"}):
        with pytest.raises(ValueError, match="measured ratings"):
            MeasuredRatings.from_settings({**settings, **change})
    with pytest.raises(InputError, match="leave measured_malignancy out"):
        fitted_measured_ratings(table().assign(mask_calcified=np.nan), ratings=RATINGS)


def test_each_method_measures_where_its_prediction_does() -> None:
    """The readers' mask for a method that segments, the declared ball or the core for the others."""
    ct = np.full((41, 41, 41), -850.0)
    mask = np.linalg.norm(np.moveaxis(np.indices(ct.shape), 0, -1) - 20, axis=-1) <= 6
    ct[mask] = 60.0
    nodule = {"ct": ct, "mask": mask.astype(np.uint8), "spacing": np.ones(3), "center": np.full(3, 20.0)}
    nodule |= {"diameter_mm": 8.0, "malignancy_mean": 4.0}
    views = {
        "mask": CubeView(patch_mm=32.0, image_size=32),
        "ball": SquareView(image_size=32),
        "core": PlanesView(patch_mm=32.0, image_size=32, weights=[1 / 9] * 9),
    }
    volumes = {}
    for place, view in views.items():
        fitted = fit_measured_ratings([nodule, nodule], load=dict, view=view, ratings=["malignancy"])
        assert {name.split("_")[0] for name in fitted["features"]} == {place}
        ratings = ratings_of(fitted)
        measured = dict(zip(ratings.features, ratings.mean, strict=True))
        assert ratings(measured) == {"measured_malignancy": pytest.approx(4.0)}
        volumes[place] = measured.get(f"{place}_log_volume", 0.0)
    assert np.exp(volumes["mask"]) == pytest.approx(mask.sum(), rel=1e-4)
    assert np.exp(volumes["ball"]) == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.05)


def test_an_attribute_is_the_mean_of_the_measured_rating_and_the_regression() -> None:
    random, rows = np.random.default_rng(1), table().dropna()
    measured = fitted_measured_ratings(rows, ratings=RATINGS)
    ratings = ratings_of(measured)
    rows = pd.DataFrame([{**row, **ratings(row)} for row in rows.to_dict("records")])
    rows = rows.assign(logit=random.normal(size=len(rows)), malignant=(rows["malignancy_mean"] > 3).astype(float))
    rows["patient_id"] = [f"patient {number}" for number in range(len(rows))]
    features = ["logit", "measured_malignancy"]
    fitted = fitted_readout(rows, features=features, attributes=["lobulation"])
    readout = Readout.from_settings({**fitted, "measured": measured})
    assert readout is not None
    assert set(fitted["outputs"]["lobulation"]["weights"]) == {"logit", "measured_lobulation"}
    taken = rows[["logit", "measured_lobulation"]]
    standardized = pd.DataFrame(StandardScaler().fit_transform(taken), columns=list(taken))
    median = QuantileRegressor(alpha=MEDIAN_PENALTY).fit(standardized, rows["lobulation_mean"])
    expected = (median.predict(standardized) + rows["measured_lobulation"]) / 2
    got = [readout.outputs["lobulation"](row) for row in standardized.to_dict("records")]
    np.testing.assert_allclose(got, expected, atol=1e-9)
    with pytest.raises(ValueError, match="needs measured ratings that give measured_lobulation"):
        Readout.from_settings(fitted)
