"""Fitting a read-out: equal to scikit-learn's pipeline, and to what the served model computes from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, QuantileRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lung_nodule.core import Prediction, Readout, SlicePatch
from lung_nodule.errors import InputError
from lung_nodule.training import fitted_readout
from lung_nodule.training.readout.file import read_readout
from lung_nodule.training.readout.fit import _store
from lung_nodule.training.readout.regression import MEDIAN_PENALTY, PENALTY

FEATURES = ["logit", "mask_log_volume"]


def table(nodules: int = 60) -> pd.DataFrame:
    """Nodules whose class follows from both features; every tenth has no class, one has no mask."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal([0.0, 5.0], [2.0, 1.0], (nodules, 2)), columns=FEATURES)
    rows["malignant"] = (rows.sum(axis=1) + random.normal(size=nodules) > 5).astype(float)
    rows["lobulation_mean"] = 2 + 0.3 * rows["mask_log_volume"] + random.exponential(0.2, nodules)
    rows["patient_id"] = [f"patient {number // 2}" for number in range(nodules)]
    rows.loc[::10, "malignant"] = np.nan
    rows.loc[3, "mask_log_volume"] = np.nan
    return rows


def test_the_fit_is_scikit_learns_and_the_views_agree() -> None:
    rows = table()
    fitted = fitted_readout(rows, features=FEATURES, attributes=["lobulation"])
    usable = rows[rows["mask_log_volume"].notna()]
    scaler = StandardScaler().fit(usable[FEATURES])
    classified = usable[usable["malignant"].notna()]
    logistic = LogisticRegression(C=1 / PENALTY).fit(scaler.transform(classified[FEATURES]), classified["malignant"])
    median = make_pipeline(StandardScaler(), QuantileRegressor(alpha=MEDIAN_PENALTY)).fit(
        usable[FEATURES], usable["lobulation_mean"]
    )
    readout = Readout.from_settings(fitted)
    assert readout is not None
    assert fitted["nodules"] == len(usable)
    assert fitted_readout(rows, features=FEATURES)["nodules"] == len(classified)
    assert fitted["patients"] == sorted(set(usable["patient_id"]))
    patch = SlicePatch((8, 8, 4), (1.0, 1.0, 2.0), (4.0, 4.0, 2.0), 8.0, 16)
    for row in usable.head(5).to_dict("records"):
        probability = 1 / (1 + np.exp(-row["logit"]))
        joined = readout(Prediction(patch, probability, measured={"mask_log_volume": row["mask_log_volume"]}))
        one = pd.DataFrame([row])[FEATURES]
        assert joined.score == pytest.approx(logistic.predict_proba(scaler.transform(one))[0, 1], abs=1e-4)
        assert joined.attributes["lobulation"] == pytest.approx(median.predict(one)[0], abs=1e-6)


def test_what_cannot_be_fitted_is_said() -> None:
    with pytest.raises(InputError, match="no mask_volume: name some of logit, mask_log_volume"):
        fitted_readout(table(), features=["mask_volume"])
    with pytest.raises(InputError, match="both classes"):
        fitted_readout(table().assign(malignant=1.0), features=FEATURES)


def test_every_feature_is_named_where_one_is_missing() -> None:
    with pytest.raises(InputError, match=r"name some of logit, mask_log_volume, mask_hu_mean$"):
        fitted_readout(table().assign(mask_hu_mean=1.0), features=["mask_hu_median"])


def test_the_patients_of_a_readout_are_among_those_seen(tmp_path: Path) -> None:
    settings = {
        "bundle": "b",
        "network": {},
        "patch": {},
        "window": [-1000, 400],
        "patients_seen": ["patient 3", "somebody"],
    }
    (tmp_path / "model.pt").write_bytes(b"")
    (tmp_path / "model.json").write_text(json.dumps(settings))
    _store(tmp_path / "model.pt", fitted_readout(table(8), features=FEATURES))
    written = json.loads((tmp_path / "model.json").read_text())
    assert written["patients_seen"] == ["patient 0", "patient 1", "patient 2", "patient 3", "somebody"]
    assert "patients" not in written["readout"]


def test_a_file_with_a_readout_is_read_and_any_other_refused(tmp_path: Path) -> None:
    path = tmp_path / "readout.json"
    with pytest.raises(InputError, match="no read-out at"):
        read_readout(path)
    fitted = fitted_readout(table(), features=FEATURES)
    path.write_text(json.dumps(fitted))
    assert read_readout(path) == fitted
    for broken in ("[", "[]", json.dumps({**fitted, "mean": {}}), json.dumps({"outputs": {}})):
        path.write_text(broken)
        with pytest.raises(InputError, match="holds no read-out"):
            read_readout(path)
