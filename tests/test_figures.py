"""The figures in the README and the cards are those of docs/benchmark.json."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ci.write_figures import BENCHMARK, FIRST, LAST, PANEL, ROOT, networks, replace_block, written


def results() -> dict:
    return json.loads(BENCHMARK.read_text(encoding="utf-8"))


def test_readme_and_cards_have_the_benchmarks_figures() -> None:
    for path, text in written(results()).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python ci/write_figures.py"


def test_the_benchmarks_figures_are_those_of_its_predictions() -> None:
    """Recomputed from the committed table: every network's pooled AUC, and the mean Dice of those that segment."""
    table = pd.read_csv(BENCHMARK.with_name("predictions.csv"), low_memory=False)
    for name in networks(results()):
        entry, rows = results()["methods"][name], table[table["method"] == name]
        known = rows[rows["malignant"].notna()]
        assert rows["nodule_id"].nunique() == entry["nodules"]
        by_seed = [roc_auc_score(one["malignant"], one["malignancy_prob"]) for _, one in known.groupby("seed")]
        assert entry["malignancy"]["auc"]["mean"] == pytest.approx(sum(by_seed) / len(by_seed), abs=1e-6)
        if "masks" in entry:
            assert entry["masks"]["dice_voi"]["mean"] == pytest.approx(rows["dice_voi"].mean(), abs=1e-6)


def test_the_reliability_of_shipped_weights_is_that_of_the_predictions() -> None:
    """Counted again, row by row; the panel's names the networks whose mean it is."""
    table = pd.read_csv(BENCHMARK.with_name("predictions.csv"), low_memory=False)
    for name in (*networks(results()), PANEL):
        path = ROOT / "bundles" / name / "models" / "model.json"
        path = ROOT / "triton_repo" / "nodule_panel" / "calibration.json" if name == PANEL else path
        if not path.is_file():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        assert name != PANEL or found["methods"] == networks(results())
        known = table[(table["method"] == name) & table["malignant"].notna()]
        counted = [[0, 0, 0.0] for _ in range(5)]
        for score, label in zip(known["malignancy_prob"], known["malignant"], strict=True):
            fifth = counted[min(int(score * 5), 4)]
            fifth[0], fifth[1], fifth[2] = fifth[0] + 1, fifth[1] + int(label), fifth[2] + score
        seeds, shown = known["seed"].nunique(), found["calibration"]
        assert shown["nodules"] == pytest.approx([number / seeds for number, _, _ in counted], abs=0.01)
        assert shown["malignant"] == pytest.approx([number / seeds for _, number, _ in counted], abs=0.01)
        assert shown["predicted"] == pytest.approx([total / number for number, _, total in counted], abs=1e-4)


def test_no_patient_is_in_two_folds() -> None:
    table = pd.read_csv(BENCHMARK.with_name("predictions.csv"), low_memory=False)
    assert table.groupby("patient_id")["fold"].nunique().max() == 1


def test_a_block_is_replaced_and_nothing_else() -> None:
    text = f"before\n{FIRST}old\n{LAST}after\n"
    assert replace_block(text, "new\n", Path("x")) == f"before\n{FIRST}new\n{LAST}after\n"
    with pytest.raises(ValueError, match="x needs the lines <!-- figures --> and <!-- end of figures --> once each"):
        replace_block("nothing", "new\n", Path("x"))
