"""Every figure against scikit-learn, scipy, or its definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, mean_absolute_error, recall_score, roc_auc_score

from lung_nodule.benchmark.figures.attribute_figures import attribute_figures
from lung_nodule.benchmark.figures.classification_figures import calibration_error, classification_figures, fold_aucs
from lung_nodule.benchmark.figures.mask_figures import mask_figures, size_tertiles
from lung_nodule.benchmark.figures.method_figures import method_figures
from lung_nodule.benchmark.predictions import youden_threshold
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES

COUNT = 300


def predictions(seed: int = 0) -> pd.DataFrame:
    """A method that predicts everything, for 300 nodules of which some have score 3."""
    random = np.random.default_rng(seed)
    mean = random.choice([1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0], COUNT)
    ratings = {f"{name}_mean": random.uniform(1, 5, COUNT).round(1) for name in ATTRIBUTES}
    counts = random.integers(1, 90, (COUNT, 4))
    dice = 2 * counts[:, 0] / (2 * counts[:, 0] + counts[:, 1] + counts[:, 2])
    return pd.DataFrame(
        {
            "nodule_id": [f"n{i}" for i in range(COUNT)],
            "patient_id": [f"p{i // 2}" for i in range(COUNT)],
            "fold": np.arange(COUNT) // 2 % 5,
            "seed": seed,
            "diameter_mm": random.uniform(3, 30, COUNT),
            "malignancy_mean": mean,
            "malignant": np.where(mean == 3, np.nan, mean > 3),
            "malignancy_prob": np.clip((mean - 3) / 4 + random.normal(0.5, 0.3, COUNT), 0, 1).round(2),
            "malignancy_threshold": random.choice([0.4, 0.5, 0.6], COUNT),
            "dice": dice,
            "jaccard": dice / (2 - dice),
            "dice_voi": dice * 0.9,
            **dict(zip(("true_positive", "false_positive", "false_negative", "true_negative"), counts.T, strict=True)),
            **ratings,
            **{f"{name}_pred": ratings[f"{name}_mean"] + random.normal(0, 1, COUNT) for name in ATTRIBUTES},
            **{f"{name}_prob": random.random(COUNT) for name in ATTRIBUTE_THRESHOLDS},
        }
    )


ROWS = predictions()
KNOWN = ROWS[ROWS["malignant"].notna()].astype({"malignant": int})


def test_classification() -> None:
    got = classification_figures(ROWS)
    label, score = KNOWN["malignant"], KNOWN["malignancy_prob"]
    chosen = (score >= KNOWN["malignancy_threshold"]).astype(int)
    expected = {
        "auc": roc_auc_score(label, score),
        "accuracy": accuracy_score(label, score >= 0.5),
        "sensitivity": recall_score(label, score >= 0.5),
        "specificity": recall_score(label, score >= 0.5, pos_label=0),
        "accuracy_at_threshold": accuracy_score(label, chosen),
        "brier": brier_score_loss(label, score),
        "auc_with_3": roc_auc_score(ROWS["malignancy_mean"] > 3, ROWS["malignancy_prob"]),
        "spearman": spearmanr(ROWS["malignancy_prob"], ROWS["malignancy_mean"])[0],
        "calibration_error": got["calibration_error"],
    }
    assert got == pytest.approx(expected)


def test_calibration_is_of_ten_equal_bins() -> None:
    """Scikit-learn's curve gives the bins; edges are avoided, as it puts them into the bin below."""
    random = np.random.default_rng(3)
    probability = random.random(500)
    label = (random.random(500) < probability**2).astype(int)
    observed, predicted = calibration_curve(label, probability, n_bins=10)
    share = np.histogram(probability, bins=10, range=(0, 1))[0] / 500
    assert calibration_error(probability, label) == pytest.approx((share * np.abs(observed - predicted)).sum())
    assert calibration_error(np.array([1.0, 0.0]), np.array([1, 0])) == 0


def test_another_score_ranks_and_the_probability_decides() -> None:
    turned = ROWS.assign(malignancy_score=-ROWS["malignancy_prob"])
    got, plain = classification_figures(turned), classification_figures(ROWS)
    assert got["auc"] == pytest.approx(1 - plain["auc"])
    assert got["spearman"] == pytest.approx(-plain["spearman"])
    assert got["accuracy"] == plain["accuracy"]


def test_a_method_that_only_ranks_has_no_accuracy() -> None:
    got = classification_figures(ROWS.assign(malignancy_prob=np.nan, malignancy_score=ROWS["diameter_mm"]))
    assert got["auc"] == pytest.approx(roc_auc_score(KNOWN["malignant"], KNOWN["diameter_mm"]))
    assert np.isnan([got["accuracy"], got["brier"], got["calibration_error"]]).all()


def test_a_missing_class_has_no_auc() -> None:
    benign = ROWS[ROWS["malignant"] == 0]
    assert np.isnan(classification_figures(benign)["auc"])
    assert np.isnan(youden_threshold(benign["malignancy_prob"].to_numpy(), benign["malignant"].to_numpy()))


def test_folds() -> None:
    got = fold_aucs(ROWS)
    assert list(got) == list("01234")
    part = KNOWN[KNOWN["fold"] == 3]
    assert got["3"] == pytest.approx(roc_auc_score(part["malignant"], part["malignancy_prob"]))


def test_the_threshold_is_the_best_of_all() -> None:
    label, score = KNOWN["malignant"].to_numpy(), KNOWN["malignancy_prob"].to_numpy()

    def index(threshold: float) -> float:
        return recall_score(label, score >= threshold) + recall_score(label, score >= threshold, pos_label=0)

    chosen = youden_threshold(ROWS["malignancy_prob"].to_numpy(), ROWS["malignant"].to_numpy())
    assert index(chosen) == pytest.approx(max(index(threshold) for threshold in np.unique(score)))


def test_masks() -> None:
    got = mask_figures(ROWS)
    total = ROWS[["true_positive", "false_positive", "false_negative"]].sum()
    tp, fp, fn = total["true_positive"], total["false_positive"], total["false_negative"]
    small = ROWS.sort_values("diameter_mm").head(COUNT // 3)
    assert got["dice"] == pytest.approx(ROWS["dice"].mean())
    assert got["dice_pooled"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert got["jaccard_pooled"] == pytest.approx(tp / (tp + fp + fn))
    assert got["dice_small"] == pytest.approx(small["dice"].mean())
    assert got["dice_voi_small"] == pytest.approx(small["dice_voi"].mean())
    assert got["jaccard_voi"] == pytest.approx((ROWS["dice_voi"] / (2 - ROWS["dice_voi"])).mean())


def test_tertiles_are_thirds() -> None:
    thirds = {"small": 100, "middle": 100, "large": 100}
    assert size_tertiles(ROWS).value_counts().to_dict() == thirds
    several = ROWS.loc[ROWS.index.repeat(np.random.default_rng(0).integers(1, 5, len(ROWS)))].reset_index(drop=True)
    assert size_tertiles(several)[~several["nodule_id"].duplicated()].value_counts().to_dict() == thirds


def test_attributes() -> None:
    got = attribute_figures(ROWS)
    for name in ATTRIBUTES:
        predicted, mean = ROWS[f"{name}_pred"], ROWS[f"{name}_mean"]
        assert got[f"{name}_mae"] == pytest.approx(mean_absolute_error(mean, predicted))
        assert got[f"{name}_spearman"] == pytest.approx(spearmanr(mean, predicted)[0])
    for name, threshold in ATTRIBUTE_THRESHOLDS.items():
        high, score, rating = ROWS[f"{name}_mean"] >= threshold, ROWS[f"{name}_prob"], ROWS[f"{name}_pred"]
        assert got[f"{name}_accuracy"] == pytest.approx(accuracy_score(high, score >= 0.5))
        rated = attribute_figures(ROWS.drop(columns=f"{name}_prob"))
        assert rated[f"{name}_accuracy"] == pytest.approx(accuracy_score(high, rating >= threshold))
        if high.any():
            assert got[f"{name}_auc"] == pytest.approx(roc_auc_score(high, score)), "although the rating ranks better"
            assert rated[f"{name}_auc"] == pytest.approx(roc_auc_score(high, rating))
            constant = attribute_figures(ROWS.assign(**{f"{name}_score": 0.0}))
            assert constant[f"{name}_auc"] == 0.5, "a score comes before both"


def test_seeds_are_averaged_after_the_figure() -> None:
    """Not an ensemble: the AUC of each seed is taken first."""
    seeds = [predictions(seed) for seed in range(3)]
    got = method_figures(pd.concat(seeds))
    aucs = [classification_figures(rows)["auc"] for rows in seeds]
    assert got["malignancy"]["auc"] == pytest.approx({"mean": np.mean(aucs), "spread": np.std(aucs, ddof=1)})
    assert got["seeds"] == 3
    assert method_figures(seeds[0])["malignancy"]["auc"]["spread"] is None


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_that_lacks_a_fold_leaves_it_to_the_others(seed: int) -> None:
    seeds = [predictions(0), predictions(1)]
    seeds[seed] = seeds[seed][seeds[seed]["fold"] != 3]
    got = method_figures(pd.concat(seeds))
    there, lacking = (fold_aucs(seeds[number]) for number in (1 - seed, seed))
    assert list(got["fold_auc"]) == list("01234")
    assert got["fold_auc"]["3"] == {"mean": there["3"], "spread": None}
    assert got["fold_auc"]["4"]["mean"] == pytest.approx((there["4"] + lacking["4"]) / 2)
    assert got["malignancy"]["auc"]["spread"] is not None


def test_another_score_ranks_by_an_attribute_and_the_probability_decides() -> None:
    got, plain = (attribute_figures(rows) for rows in (ROWS.assign(texture_score=0.0), ROWS))
    assert got["texture_auc"] == 0.5 != plain["texture_auc"]
    assert got["texture_accuracy"] == plain["texture_accuracy"]
