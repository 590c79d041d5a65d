"""The read-out of a cross-validation: that of its network's own predictions, of all test folds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lung_nodule.benchmark.cells.plan import trained_cells
from lung_nodule.benchmark.readouts import write_readouts
from lung_nodule.core import logit
from lung_nodule.training import fitted_readout

FEATURES, ATTRIBUTES = ["logit", "ball_calcified", "measured_malignancy"], ["texture"]


def predictions(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    score, calcified, texture = random.random(30), random.random(30), random.uniform(1, 5, 30)
    return pd.DataFrame(
        {
            "nodule_id": [f"n{seed}_{number}" for number in range(30)],
            "patient_id": [f"p{seed}_{number}" for number in range(30)],
            "fold": seed % 2,
            "malignant": (score + random.normal(0, 0.3, 30) > 0.5).astype(float),
            "malignancy_prob": score**2,
            "network_prob": score,
            "texture_pred": 3.0,
            "texture_network": texture,
            "texture_mean": texture + random.normal(0, 0.5, 30),
            "ball_calcified": calcified,
            "measured_malignancy": 1 + 4 * random.random(30),
            "measured_texture": texture + random.normal(0, 0.3, 30),
        }
    )


def refitted(rest: pd.DataFrame, fold: pd.DataFrame) -> pd.Series:
    """Probabilities of one fold's nodules by a logistic regression on the other fold's."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    model.fit(rest[FEATURES], rest["malignant"])
    return pd.Series(model.predict_proba(fold[FEATURES])[:, 1], index=fold.index)


def test_it_is_fitted_on_the_networks_own_predictions_of_all_folds(tmp_path: Path) -> None:
    cells = trained_cells(
        ["mtmrnet", "mtcnn"], seeds=1, folds=[0, 1], dataset_dir=tmp_path, out=tmp_path, fingerprint="f", options={}
    )
    tables = []
    for number, cell in enumerate(cells):
        cell.predictions("test").parent.mkdir(parents=True)
        table = predictions(number)
        table.to_csv(cell.predictions("test"), index=False)
        own = table.rename(columns={"texture_network": "texture"}).assign(logit=table["network_prob"].map(logit))
        first = fitted_readout(own, features=FEATURES, attributes=ATTRIBUTES)
        (cell.folder / "model.json").write_text(json.dumps({"readout": first} if cell.bundle == "mtmrnet" else {}))
        tables += [own] if cell.bundle == "mtmrnet" else []
    assert write_readouts(tmp_path / "readouts", cells) == [tmp_path / "readouts" / "mtmrnet.json"]
    written = json.loads((tmp_path / "readouts" / "mtmrnet.json").read_text())
    expected = fitted_readout(pd.concat(tables, ignore_index=True), features=FEATURES, attributes=ATTRIBUTES)
    assert written["nodules"] == 60
    assert "measured" not in written  # the training on every fold fits that by itself
    assert list(written["outputs"]["texture"]["weights"]) == ["logit", "texture", "measured_texture"]
    probability = pd.concat([refitted(tables[1], tables[0]), refitted(tables[0], tables[1])])
    malignant = pd.concat(tables)["malignant"]
    called = probability >= written["threshold"]
    youden = called[malignant > 0].mean() - called[malignant == 0].mean()
    false, true, _ = roc_curve(malignant, probability)
    assert youden == pytest.approx((true - false).max())
    pd.testing.assert_frame_equal(
        pd.DataFrame(written["outputs"]["texture"]), pd.DataFrame(expected["outputs"]["texture"])
    )
    np.testing.assert_allclose(
        list(written["outputs"]["malignancy"]["weights"].values()),
        list(expected["outputs"]["malignancy"]["weights"].values()),
        rtol=1e-6,
    )
