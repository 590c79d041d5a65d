"""Tables of reliability: from predictions to a server's parameter and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from ci.reliability_tables import EDGES, table
from lung_nodule.deployment.answers import PANEL
from lung_nodule.deployment.report.calibration import Bin, calibrations
from lung_nodule.deployment.repository import panel_model
from lung_nodule.deployment.repository.model_repository import TEMPLATES, as_text, read_config
from lung_nodule.methods import METHODS

TABLE = {
    "source": "somewhere",
    "edges": [0, 0.2, 0.4, 0.6, 0.8, 1],
    "nodules": [10, 0, 4, 5, 8],
    "malignant": [1, 0, 3, 5, 8],
    "predicted": [0.1, None, 0.5, 0.7, 0.95],
}


def test_a_probability_finds_the_bin_that_it_belongs_to() -> None:
    found = calibrations(as_text({"mtcnn": TABLE}))["mtcnn"]
    assert found.source == "somewhere"
    assert [bin_.nodules for bin_ in found.bins] == [10, 4, 5, 8]
    shares = {p: None if (b := found.bin_of(p)) is None else b.share for p in (0.0, 0.1999, 0.2, 0.4, 0.79, 0.8, 1.0)}
    assert shares == {0.0: 0.1, 0.1999: 0.1, 0.2: None, 0.4: 0.75, 0.79: 1.0, 0.8: 1.0, 1.0: 1.0}
    assert found.bin_of(1.0) == found.bins[-1]
    assert found.bin_of(float("nan")) is None


def test_weights_without_a_table_have_none() -> None:
    assert as_text({}) == ""
    assert calibrations("") == {}


@pytest.mark.parametrize(("malignant", "nodules"), [(0, 12), (5, 12), (12, 12), (41, 57)])
def test_the_interval_is_wilsons(malignant: int, nodules: int) -> None:
    low, high = binomtest(malignant, nodules).proportion_ci(method="wilson")
    assert Bin(0, 1, nodules, malignant, 0.5).interval == pytest.approx((low, high), abs=1e-4)


def test_a_table_counts_the_nodules_of_each_bin_once() -> None:
    """Two seeds: mean numbers. A nodule without a class is left out, 1 belongs to the last bin."""
    scores = [0.05, 0.2, 0.39, 0.5, 1.0, 0.95, 0.3]
    label = [0, 0, 1, 1, 1, 0, np.nan]
    one = pd.DataFrame({"malignancy_prob": scores, "malignant": label, "seed": 0})
    one = one.assign(nodule_id=range(7), patient_id=[0, 0, 1, 1, 2, 2, 3])
    other = one.assign(seed=1, malignancy_prob=[0.05, 0.2, 0.39, 0.7, 1.0, 0.95, 0.3])
    made = table(pd.concat([one, other]), "here")
    assert made["source"] == "6 nodules of 3 patients of here"
    assert made["edges"] == list(EDGES)
    assert made["nodules"] == [1, 2, 0.5, 0.5, 2]
    assert made["malignant"] == [0, 1, 0.5, 0.5, 1]
    assert made["predicted"] == [0.05, 0.295, 0.5, 0.7, 0.975]
    assert table(one, "here")["predicted"][3] is None
    found = calibrations(as_text({"x": made}))["x"]
    assert found.bin_of(0.61) == Bin(0.6, 0.8, 0.5, 0.5, 0.7)


def _client(name: str, **more: object) -> dict:
    return {"version": "1", "weights_sha256": name, "reach_mm": 1, "reach_diameters": 0, "synthetic": False,
            "patients_seen": [], **more}  # fmt: skip


def test_the_panel_has_a_table_of_its_own_only_for_the_same_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only if every one of them is served with weights that have one."""
    monkeypatch.setattr(panel_model, "TEMPLATES", tmp_path)
    known = [_client(name, calibration={name: TABLE}) for name in ("mtcnn", "e2emtl")]
    unknown = _client("mtnet", calibration={})
    assert set(panel_model.merge_clients(known)["calibration"]) == {"mtcnn", "e2emtl"}
    (tmp_path / PANEL).mkdir()
    own = {"methods": ["e2emtl", "mtcnn"], "calibration": {**TABLE, "source": "joined"}}
    (tmp_path / PANEL / panel_model.CALIBRATION).write_text(json.dumps(own))
    joined = panel_model.merge_clients(known)["calibration"]
    assert set(joined) == {"mtcnn", "e2emtl", PANEL}
    assert joined[PANEL]["source"] == "joined"
    for others in ([*known, unknown], [*known, _client("mtmrnet", calibration={"mtmrnet": TABLE})], known[:1]):
        assert PANEL not in panel_model.merge_clients(others)["calibration"]


def test_every_model_that_takes_a_ct_can_carry_one() -> None:
    for name in (*METHODS, PANEL):
        assert read_config(TEMPLATES / name / "config.pbtxt").parameters["calibration"].string_value == ""
