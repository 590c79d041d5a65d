"""The mean of the networks in the benchmark's long table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lung_nodule.benchmark.panel.panel_rows import PANEL, panel_rows


def _rows(method: str, scores: dict[str, float], **columns: float) -> pd.DataFrame:
    rows = [
        {
            "nodule_id": nodule, "patient_id": f"p{nodule}", "fold": "0", "seed": 0, "method": method,
            "malignancy_prob": score, "malignant": float(score > 0.5), "malignancy_mean": 4.0, "diameter_mm": 7.0,
            "malignancy_threshold": 0.4, **columns,
        }
        for nodule, score in scores.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_it_is_the_mean_of_what_all_networks_predicted() -> None:
    first = _rows("first", {"a": 0.2, "b": 0.9, "c": 0.5}, texture_pred=4.0, dice_voi=0.8, volume_mm3=10.0)
    second = _rows("second", {"a": 0.4, "b": 0.7}, network_prob=0.5)
    validation = pd.concat([_rows("first", {"d": 0.1, "e": 0.8}), _rows("second", {"d": 0.3, "e": 0.6})])
    found = panel_rows(pd.concat([first, second], ignore_index=True), validation).set_index("nodule_id")
    assert sorted(found.index) == ["a", "b"], "the second network has no c"
    assert set(found["method"]) == {PANEL}
    np.testing.assert_allclose(found.loc[["a", "b"], "malignancy_prob"], [0.3, 0.8])
    np.testing.assert_allclose(found.loc[["a", "b"], "malignancy_spread"], [0.2, 0.2])
    assert found["texture_pred"].tolist() == [4.0, 4.0]
    assert found["malignancy_threshold"].tolist() == pytest.approx([0.7, 0.7])
    assert found[["patient_id", "diameter_mm", "malignancy_mean"]].notna().all(axis=None)
    assert not {"dice_voi", "volume_mm3", "network_prob"} & set(found), "no network's own column may pass for the mean"


def test_one_network_makes_no_panel() -> None:
    assert panel_rows(_rows("first", {"a": 0.2}), pd.DataFrame()).empty


def test_given_weights_have_no_validation_fold_and_no_seed() -> None:
    rows = pd.concat([_rows("first", {"a": 0.2}), _rows("second", {"a": 0.6})]).assign(seed=np.nan)
    found = panel_rows(rows, pd.DataFrame())
    assert found["malignancy_prob"].tolist() == pytest.approx([0.4])
    assert found["malignancy_threshold"].isna().all()


def test_a_cell_that_one_network_lacks_is_left_out_for_that_seed_only() -> None:
    first, second = (
        pd.concat([_rows(method, {"a": 0.2, "b": score}).assign(seed=seed) for seed in (0, 1)], ignore_index=True)
        for method, score in (("first", 0.9), ("second", 0.7))
    )
    lacking = pd.concat([first, second[second["seed"] == 0]], ignore_index=True)
    found = panel_rows(lacking, lacking)
    assert found["seed"].tolist() == [0, 0]
    assert found["malignancy_prob"].tolist() == pytest.approx([0.2, 0.8])
    apart = pd.concat([first[first["seed"] == 1], second[second["seed"] == 0]], ignore_index=True)
    assert panel_rows(apart, apart).empty


def test_a_network_without_a_malignancy_is_not_in_the_panel() -> None:
    scored = [_rows(method, {"a": score, "b": 0.9}) for method, score in (("first", 0.2), ("second", 0.4))]
    without = _rows("third", {"a": np.nan, "b": np.nan})
    found = panel_rows(pd.concat([*scored, without]), pd.concat([*scored, without]))
    assert found["malignancy_prob"].tolist() == pytest.approx([0.3, 0.9])
    assert panel_rows(pd.concat([scored[0], without]), scored[0]).empty
