"""From the long table to ``benchmark.json`` and ``benchmark.md``: differences, marks, warnings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lung_nodule.benchmark.baselines.methods_without_network import DIAMETER, ONE_READER, RADIOMICS, THRESHOLD, Baseline
from lung_nodule.benchmark.predictions import write_predictions
from lung_nodule.benchmark.report.markdown import benchmark_markdown
from lung_nodule.benchmark.report.plots import write_plots
from lung_nodule.benchmark.report.results import benchmark_results
from lung_nodule.evaluation.results import SYNTHETIC
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES
from tests.benchmark.test_figures import predictions

BASELINES = [
    THRESHOLD, DIAMETER, RADIOMICS, Baseline("weak", "a coin"), Baseline("strong", "the answer itself"),
]  # fmt: skip
CROSS_VALIDATION = {
    "kind": "cross-validation", "folds": [0, 1, 2, 3, 4], "seeds": 2, "options": {}, "software": {"name": "1.0"},
}  # fmt: skip


def long_table() -> pd.DataFrame:
    """A network of two seeds, better than one baseline and worse than two."""
    left_out = [name for name in ATTRIBUTES if name not in ("texture", "margin")]
    first = predictions(0).drop(columns=[f"{name}_pred" for name in left_out])
    first = first.drop(columns=[f"{name}_prob" for name in left_out if name in ATTRIBUTE_THRESHOLDS])
    second = first.copy()
    noise = np.random.default_rng(5).normal(0, 0.05, len(first))
    second["malignancy_prob"] = np.clip(second["malignancy_prob"] + noise, 0, 1)
    network = pd.concat([first.assign(method="net", seed=0), second.assign(method="net", seed=1)])
    network["malignancy_spread"] = network["malignancy_mean"] / 10
    plain = first.drop(columns=["dice", "jaccard", "dice_voi"]).assign(seed=np.nan)
    label = (plain["malignancy_mean"] > 3).astype(float)
    strong = plain.assign(method="strong", malignancy_prob=0.1 + 0.8 * label)
    weak = plain.assign(method="weak", malignancy_prob=np.random.default_rng(6).random(len(plain)))
    diameter = plain.assign(method=DIAMETER.name, malignancy_prob=0.2 + 0.6 * label, malignancy_score=label)
    threshold = plain[["nodule_id", "patient_id", "fold", "diameter_mm", "malignant"]]
    threshold = threshold.assign(method=THRESHOLD.name, seed=np.nan, dice_voi=0.3)
    return pd.concat([network, strong, weak, diameter, threshold], ignore_index=True)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return long_table()


@pytest.fixture(scope="module")
def results(table: pd.DataFrame) -> dict[str, Any]:
    spread = table.drop_duplicates("nodule_id").set_index("nodule_id")["malignancy_mean"]
    return benchmark_results(
        table, ["net"], BASELINES, described={"name": "made up", "synthetic": True}, protocol=CROSS_VALIDATION,
        spread_of_readers=spread,
    )  # fmt: skip


def test_it_is_json(results: dict[str, Any]) -> None:
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert list(results["methods"]) == ["net", THRESHOLD.name, DIAMETER.name, "weak", "strong"]


def test_a_difference_is_that_of_the_means_over_seeds(results: dict[str, Any], table: pd.DataFrame) -> None:
    known = table[table["malignant"].notna()].astype({"malignant": int})

    def auc(rows: pd.DataFrame) -> float:
        return roc_auc_score(rows["malignant"], rows["malignancy_prob"])

    network = known[known["method"] == "net"]
    mean = np.mean([auc(part) for _, part in network.groupby("seed")])
    entry = results["methods"]["net"]["against"]["malignancy auc"]["weak"]
    assert entry["difference"] == pytest.approx(mean - auc(known[known["method"] == "weak"]), abs=1e-5)
    low, high = entry["interval"]
    assert low < entry["difference"] < high
    assert low > 0


@pytest.mark.parametrize("missing", ["network", "baseline"])
def test_a_difference_is_taken_where_every_seed_has_a_nodule(table: pd.DataFrame, missing: str) -> None:
    """Two methods with one score differ by nothing, even where a seed of one lacks a fold or hard nodules."""
    net = table[table["method"] == "net"].assign(seed=0)
    net = net.drop_duplicates("nodule_id")
    two = pd.concat([net, net.assign(seed=1)])
    lacking = two[~((two["seed"] == 1) & ((two["fold"] == 2) | (two["malignancy_prob"] > 0.8)))]
    of_network, of_baseline = (lacking, two) if missing == "network" else (two, lacking)
    both = pd.concat([of_network, of_baseline.assign(method="weak")], ignore_index=True)
    found = benchmark_results(both, ["net"], BASELINES, described={}, protocol=CROSS_VALIDATION)
    for entry in (each["weak"] for each in found["methods"]["net"]["against"].values()):
        assert entry["difference"] == 0
        assert entry["interval"] == [0, 0]
        assert not entry["better"]


def test_the_protocol_is_recorded_as_given(table: pd.DataFrame) -> None:
    protocol = {**CROSS_VALIDATION, "options": {"net": {"weight_decay": 4e-7, "learning_rate": 1.23456789e-4}}}
    found = benchmark_results(table, ["net"], BASELINES, described={}, protocol=protocol)
    assert found["protocol"] == protocol


def test_a_missing_fold_is_not_filled_by_the_next(table: pd.DataFrame) -> None:
    some = table[~((table["method"] == "net") & (table["fold"] == 1))]
    text = benchmark_markdown(benchmark_results(some, ["net"], BASELINES, described={}, protocol=CROSS_VALIDATION), [])
    assert "| AUC of fold 0, 1, 2, 3, 4 |" in text
    network, strong = (
        next(line for line in text.splitlines() if line.startswith(f"| {name} |")).split(" | ")[2].split()
        for name in ("**net**", "strong")
    )
    assert network[1] == "n/a"
    assert "n/a" not in [*network[:1], *network[2:], *strong]
    assert len(network) == len(strong) == 5


def test_what_is_not_beaten_is_listed(results: dict[str, Any]) -> None:
    found = results["methods"]["net"]["not_beaten"]
    assert found["malignancy auc"] == [DIAMETER.name, "strong"]
    assert found["masks dice_voi"] == []
    assert set(found["attributes texture_mae"]) == {DIAMETER.name, "weak", "strong"}, "a tie does not beat"


def test_uncertainty_is_compared_with_the_readers(results: dict[str, Any]) -> None:
    found = results["methods"]["net"]["uncertainty"]
    assert found["interval_width"] == {"spearman": 1.0, "nodules": 300}
    assert abs(found["seeds"]["spearman"]) < 0.5


def test_the_report_marks_and_warns(results: dict[str, Any]) -> None:
    text = benchmark_markdown(results, [("roc.png", "ROC")])
    assert text.count(SYNTHETIC) == 2
    assert "patient-grouped five-fold cross-validation" in text
    assert "2 seeds" in text
    assert "readers' opinions, not pathology" in text
    malignancy = next(line for line in text.splitlines() if line.startswith("| **net** |"))
    assert " ↓ |" in malignancy
    assert "![ROC](roc.png)" in text
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert min(widths) > 2


def test_only_what_readers_gave_has_a_mark_of_its_own(table: pd.DataFrame) -> None:
    some = table[table["method"].isin(["net", DIAMETER.name, "weak"])]
    results = benchmark_results(some, ["net"], BASELINES, described={}, protocol=CROSS_VALIDATION)
    text = benchmark_markdown(results, [])
    assert "(↓) |" in next(line for line in text.splitlines() if line.startswith("| **net** |"))
    assert SYNTHETIC not in text


def test_given_weights_are_said_to_be_given(table: pd.DataFrame) -> None:
    protocol = {"kind": "given weights", "baselines_fitted_on": None, "software": {"name": "1.0"}}
    some = table[table["method"] == "net"].assign(seed=np.nan)
    text = benchmark_markdown(benchmark_results(some, ["net"], BASELINES, described={}, protocol=protocol), [])
    assert "Protocol: given weights on patients that their training did not see." in text
    assert "Baselines that must be fitted are left out." in text
    assert "the threshold in the weights' side files" in text
    assert "validation fold" not in text
    assert "training folds" not in text


def test_what_cannot_be_compared_is_not_marked(table: pd.DataFrame) -> None:
    some = table[table["method"].isin(["net", DIAMETER.name])].assign(malignant=1.0)
    results = benchmark_results(some, ["net"], BASELINES, described={}, protocol=CROSS_VALIDATION)
    assert results["methods"]["net"]["not_beaten"]["malignancy auc"] == []
    assert results["methods"]["net"]["intervals"]["malignancy auc"] is None


def test_few_patients_of_a_class_have_no_interval(table: pd.DataFrame) -> None:
    known = table[(table["method"] == "net") & (table["seed"] == 0) & table["malignant"].notna()]
    few = pd.concat([known[known["malignant"] == label].drop_duplicates("patient_id").head(2) for label in (0, 1)])
    results = benchmark_results(few, ["net"], [], described={}, protocol=CROSS_VALIDATION)
    assert results["methods"]["net"]["malignancy"]["auc"]["mean"] is not None
    assert results["methods"]["net"]["intervals"]["malignancy auc"] is None


def test_a_reader_is_compared_on_the_readings(table: pd.DataFrame) -> None:
    """Against the other readers, as the reader is; there is no such Dice of a network."""
    net = table[(table["method"] == "net") & (table["seed"] == 0)]
    random = np.random.default_rng(7)
    readings = net.loc[net.index.repeat(3)].reset_index(drop=True).assign(method=ONE_READER.name, seed=np.nan)
    readings["reader"] = np.tile([0, 1, 2], len(net))
    readings["malignancy_mean"] += random.normal(0, 0.7, len(readings))
    readings["malignant"] = (readings["malignancy_mean"] > 3).astype(float).mask(readings["malignant"].isna())
    readings["texture_mean"] += random.normal(0, 0.5, len(readings))
    readings = readings.assign(malignancy_prob=np.nan, malignancy_score=random.random(len(readings)))
    both = pd.concat([net, readings], ignore_index=True)
    against = benchmark_results(both, ["net"], [ONE_READER], described={}, protocol=CROSS_VALIDATION)
    compared = against["methods"]["net"]["against"]
    merged = net[["nodule_id", "malignancy_prob", "texture_pred"]].merge(
        readings[["nodule_id", "malignant", "malignancy_score", "texture_mean"]], on="nodule_id"
    )
    known = merged.dropna(subset="malignant")
    aucs = [roc_auc_score(known["malignant"], known[name]) for name in ("malignancy_prob", "malignancy_score")]
    assert compared["malignancy auc"][ONE_READER.name]["difference"] == pytest.approx(aucs[0] - aucs[1])
    error = (merged["texture_pred"] - merged["texture_mean"]).abs().mean()
    own = (readings["texture_pred"] - readings["texture_mean"]).abs().mean()
    assert compared["attributes texture_mae"][ONE_READER.name]["difference"] == pytest.approx(error - own)
    assert ONE_READER.name not in compared["masks dice_voi"]


def test_the_networks_software_is_named(table: pd.DataFrame) -> None:
    protocol = {**CROSS_VALIDATION, "software": {"name": "0.2"}, "software_of_networks": {"a": ["0.1"], "b": ["0.2"]}}
    net = table[table["method"] == "net"]
    text = benchmark_markdown(benchmark_results(net, ["net"], [], described={}, protocol=protocol), [])
    assert "Software: 0.2; networks: a by 0.1." in text


def test_what_the_readers_give_a_network_is_said(table: pd.DataFrame) -> None:
    net = table[table["method"] == "net"]
    both = pd.concat([net.assign(method=name) for name in ("mtmrnet", "mtnet", "panel")])
    results = benchmark_results(both, ["mtnet", "mtmrnet", "panel"], BASELINES, described={}, protocol=CROSS_VALIDATION)
    text = benchmark_markdown(results, [])
    assert "| **mtnet** | the nodule's centre, and the crop's extent, which a network can see |" in text
    assert (
        "| **mtmrnet** | the nodule's centre, and the crop's extent, which a network can see; the mean diameter |"
        in text
    )
    assert (
        "| **panel** | the nodule's centre, and the crop's extent, which a network can see; the mean diameter |" in text
    )


def test_pictures_and_table_are_written(table: pd.DataFrame, tmp_path: Path) -> None:
    written = write_plots(tmp_path, table, ["net"], BASELINES)
    assert [name for name, _ in written] == ["roc.png", "reliability.png", "dice_by_size.png", "attributes.png"]
    assert all((tmp_path / name).stat().st_size > 5000 for name, _ in written)
    write_predictions(tmp_path / "predictions.csv", table)
    again = pd.read_csv(tmp_path / "predictions.csv")
    assert list(again)[:5] == ["nodule_id", "patient_id", "fold", "seed", "method"]
    assert len(again) == len(table)
    assert again["seed"].dropna().unique().tolist() == [0, 1]
