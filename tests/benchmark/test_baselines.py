"""Baselines are fitted inside the folds: nothing of a test nodule but its measurements reaches its prediction."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from lung_nodule.benchmark.baselines.baseline_rows import (
    constant_columns,
    fitted_rows,
    mask_rows,
    ranking_rows,
    rows_of,
)
from lung_nodule.benchmark.baselines.fitting import malignancy_columns, rating_columns
from lung_nodule.benchmark.baselines.methods_without_network import (
    BALL,
    CONSTANT,
    DIAMETER,
    LASSO,
    ONE_READER,
    RADIOMICS,
)
from lung_nodule.benchmark.baselines.own_masks import MEASURED, own_mask_rows
from lung_nodule.benchmark.baselines.readers import rating_spread, reader_rows
from lung_nodule.benchmark.baselines.splits import another_dataset, cross_validation, refuse_shared
from lung_nodule.benchmark.dataset import read_dataset
from lung_nodule.benchmark.figures.attribute_figures import attribute_figures
from lung_nodule.benchmark.run import with_measurements
from lung_nodule.core import MEASUREMENTS
from lung_nodule.errors import InputError
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES, CHARACTERISTICS

COUNT = 150
FOLDS = (0, 3)


def nodules(seed: int = 0, prefix: str = "") -> pd.DataFrame:
    """150 nodules of 75 patients whose size and calcium say most of their class and ratings."""
    random = np.random.default_rng(seed)
    size, calcium = random.normal(6, 1, COUNT), random.random(COUNT) * (random.random(COUNT) < 0.2)
    mean = np.clip(np.round(3 + (size - 6) - 3 * calcium + random.normal(0, 0.5, COUNT), 0), 1, 5)
    ratings = {f"{name}_mean": np.clip(size - 3 + random.normal(0, 0.5, COUNT), 1, 5) for name in ATTRIBUTES}
    measurements = {
        f"{place}_{name}": random.normal(0, 1, COUNT) for place in ("true", "ball") for name in MEASUREMENTS
    }
    return pd.DataFrame(
        {
            "nodule_id": [f"{prefix}n{i}" for i in range(COUNT)],
            "patient_id": [f"{prefix}p{i // 2}" for i in range(COUNT)],
            "fold": np.arange(COUNT) // 2 % 5,
            "readers": 3,
            "diameter_mm": np.exp(size / 3),
            "crop_extent_mm": np.exp(size / 3) + random.normal(0, 3, COUNT),
            "malignancy_mean": mean,
            "malignant": np.where(mean == 3, np.nan, mean > 3),
            **ratings,
            **measurements,
            "true_log_volume": size,
            "true_calcified": calcium,
            "ball_log_volume": size,
            "ball_calcified": calcium,
            "radiomics_log_volume": size,
            "radiomics_calcified": calcium,
            "radiomics_shell_core": np.where(size < 6, np.nan, size),
            "radiomics_noise": random.normal(0, 1, COUNT),
            "threshold_dice": random.random(COUNT),
            "region_dice": random.random(COUNT),
            **{f"reader{i}_dice": random.random(COUNT) for i in range(3)},
        }
    )


NODULES = nodules()


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fitted_rows(cross_validation(NODULES, FOLDS))


def of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["method"] == name]


def test_every_baseline_tests_every_nodule_once(rows: pd.DataFrame) -> None:
    tested = NODULES[NODULES["fold"].isin(FOLDS)]
    for _, part in rows.groupby("method"):
        assert sorted(part["nodule_id"]) == sorted(tested["nodule_id"])
        assert part["seed"].isna().all()


def test_labels_and_ratings_of_test_nodules_reach_nothing() -> None:
    """Those of fold 2 are turned around: its predictions stay, to the last digit."""
    measured = ["radiomics_log_volume", "radiomics_calcified"]
    tested = NODULES["fold"] == 2
    other = NODULES.copy()
    other.loc[tested, "malignant"] = 1 - other.loc[tested, "malignant"]
    for name in ATTRIBUTES:
        other.loc[tested, f"{name}_mean"] = 6 - other.loc[tested, f"{name}_mean"]
    for fit in (malignancy_columns, rating_columns):
        before, after = (fit(cross_validation(table, [2])[0], measured) for table in (NODULES, other))
        pd.testing.assert_frame_equal(before, after)
    before, after = (malignancy_columns(cross_validation(table, [0])[0], measured) for table in (NODULES, other))
    assert not before.equals(after), "fold 2 trains fold 0's"


def test_a_split_is_the_networks() -> None:
    (split,) = cross_validation(NODULES, [4])
    assert set(split.test["fold"]) == {4}
    assert set(split.validation["fold"]) == {0}
    assert set(split.train["fold"]) == {1, 2, 3}


def test_a_probability_is_scikit_learns() -> None:
    (split,) = cross_validation(NODULES, [0])
    known = split.train[split.train["malignant"].notna()]
    mean, std = known["diameter_mm"].mean(), known["diameter_mm"].std(ddof=0)
    model = LogisticRegression(max_iter=5000).fit((known[["diameter_mm"]].to_numpy() - mean) / std, known["malignant"])
    expected = model.predict_proba((split.test[["diameter_mm"]].to_numpy() - mean) / std)[:, 1]
    np.testing.assert_allclose(malignancy_columns(split, ["diameter_mm"])["malignancy_prob"], expected, rtol=1e-6)


def test_the_diameter_ranks_by_itself(rows: pd.DataFrame) -> None:
    diameter = of(rows, DIAMETER.name)
    assert (diameter["malignancy_score"] == diameter["diameter_mm"]).all()
    assert diameter["malignancy_prob"].between(0, 1).all()
    ranked = ranking_rows(NODULES)
    assert ranked["malignancy_prob"].isna().all()
    assert set(ranked["method"]) == {"crop extent", DIAMETER.name}


def test_what_can_be_learnt_is_learnt(rows: pd.DataFrame) -> None:
    radiomics, constant = of(rows, RADIOMICS.name), of(rows, CONSTANT.name)
    known = radiomics["malignant"].notna()
    assert roc_auc_score(radiomics.loc[known, "malignant"].astype(int), radiomics.loc[known, "malignancy_prob"]) > 0.85
    assert constant["malignancy_score"].nunique() == 1
    for name in ATTRIBUTES:
        parts = (radiomics, of(rows, LASSO.name), of(rows, BALL.name))
        errors = [(part[f"{name}_pred"] - part[f"{name}_mean"]).abs().mean() for part in parts]
        constants = (constant[f"{name}_pred"] - constant[f"{name}_mean"]).abs().mean()
        assert max(errors) < 0.8 * constants
    assert {f"{name}_prob" for name in ATTRIBUTE_THRESHOLDS} <= set(radiomics.dropna(axis=1, how="all"))


def test_the_constant_ranks_nothing() -> None:
    """Also where the folds' majorities differ, its AUC is that of a coin, and its accuracy that of the majority."""
    table = NODULES.assign(**{f"{name}_mean": np.where(NODULES["fold"] < 2, 5.0, 1.0) for name in ATTRIBUTES})
    splits = cross_validation(table, range(5))
    constant = pd.concat(rows_of(CONSTANT, split.test, constant_columns(split)) for split in splits)
    got = attribute_figures(constant)
    assert constant["texture_prob"].nunique() == 2
    assert got["texture_auc"] == 0.5
    high = constant["texture_mean"] >= ATTRIBUTE_THRESHOLDS["texture"]
    assert got["texture_accuracy"] == pytest.approx((high == (constant["texture_prob"] == 1)).mean())


def test_masks_are_taken_as_they_were_measured() -> None:
    got = mask_rows(NODULES)
    for name, column in (("threshold", "threshold_dice"), ("region growing", "region_dice")):
        assert of(got, name)["dice_voi"].tolist() == NODULES[column].tolist()


def test_own_masks_are_fitted_on_the_readers_and_predict_from_the_networks() -> None:
    """A network whose masks measure as the readers' gets the same answer; one that sees no size a worse one."""
    exact = NODULES.rename(columns={f"true_{name}": f"mask_{name}" for name in MEASUREMENTS})
    table = pd.concat([exact.assign(method="good", seed=0), exact.assign(method="blind", seed=0, mask_log_volume=6.0)])
    validation = table.assign(fold=(table["fold"] - 1) % 5)
    splits = cross_validation(NODULES, FOLDS)
    got = own_mask_rows(splits, table, validation)
    good, blind = (of(got, f"{name} mask: volume, calcium") for name in ("good", "blind"))
    expected = pd.concat([malignancy_columns(split, ["true_log_volume", "true_calcified"]) for split in splits])
    np.testing.assert_allclose(good["malignancy_prob"], expected["malignancy_prob"])
    np.testing.assert_allclose(good["malignancy_threshold"], expected["malignancy_threshold"])
    known = [part[part["malignant"].notna()] for part in (good, blind)]
    aucs = [roc_auc_score(part["malignant"].astype(int), part["malignancy_prob"]) for part in known]
    assert aucs[0] > aucs[1] + 0.1
    assert own_mask_rows(splits, table.drop(columns=MEASURED), validation).empty


def test_a_reader_has_the_others_as_reference() -> None:
    given = enumerate((1, 3, 5))
    ratings = [{"nodule_id": "n0", "reader": i, **dict.fromkeys(CHARACTERISTICS, rating)} for i, rating in given]
    ratings = pd.DataFrame(ratings)
    got = reader_rows(NODULES, ratings).set_index("reader")
    assert got["malignancy_mean"].tolist() == [4, 3, 2]
    assert got["malignant"].fillna(-1).tolist() == [1, -1, 0]
    assert got["malignancy_score"].tolist() == [1, 3, 5]
    assert got["malignancy_prob"].isna().all(), "a rating is no probability"
    without_class = reader_rows(NODULES.assign(malignant=np.nan), ratings)
    assert without_class["malignant"].isna().all(), "a network has no such nodule"
    assert got["texture_pred"].tolist() == [1, 3, 5]
    assert got["texture_mean"].tolist() == [4, 3, 2]
    least = ATTRIBUTE_THRESHOLDS["texture"]
    assert got["texture_prob"].tolist() == [float(rating >= least) for rating in (1, 3, 5)]
    assert got["texture_score"].tolist() == [1, 3, 5]
    assert got["dice_voi"].tolist() == NODULES.loc[0, [f"reader{i}_dice" for i in range(3)]].tolist()
    assert set(got["method"]) == {ONE_READER.name}
    assert rating_spread(ratings)["n0"] == pytest.approx(np.std([1, 3, 5]))


def test_another_dataset_shares_no_patient() -> None:
    split = another_dataset(nodules(1, "other "), NODULES)
    assert set(split.validation["fold"]) == {4}
    assert len(split.train) + len(split.validation) == COUNT
    refuse_shared({"other p0"}, set(NODULES["patient_id"]))
    with pytest.raises(InputError, match=r"75 patients \(p0, \.\.\.\) are in --fit_dir and in --dataset_dir"):
        refuse_shared(set(NODULES["patient_id"]), set(NODULES["patient_id"]))


@pytest.mark.long
def test_the_known_facts_of_the_real_vois(lidc_vois: Path, tmp_path: Path) -> None:
    """Figures that were measured on these data before this software was written."""
    table = with_measurements(read_dataset(lidc_vois, range(5)), tmp_path)
    rows = fitted_rows(cross_validation(table, range(5)))
    aucs = {}
    for name, part in rows.groupby("method"):
        known = part[part["malignant"].notna() & part["malignancy_prob"].notna()]
        if len(known):
            score = known["malignancy_score"].fillna(known["malignancy_prob"])
            aucs[name] = roc_auc_score(known["malignant"].astype(int), score)
    assert aucs[DIAMETER.name] == pytest.approx(0.908, abs=0.001)
    assert aucs["crop extent"] == pytest.approx(0.85, abs=0.01)
    assert aucs[RADIOMICS.name] == pytest.approx(0.941, abs=0.01)
    assert aucs["attributes, diameter"] == pytest.approx(0.960, abs=0.01)
    radiomics = of(rows, RADIOMICS.name)
    for name, mae in zip(ATTRIBUTES, (0.41, None, 0.17, 0.40, 0.43, 0.47, 0.44, 0.29), strict=True):
        if mae is not None:
            assert (radiomics[f"{name}_pred"] - radiomics[f"{name}_mean"]).abs().mean() < mae + 0.03
