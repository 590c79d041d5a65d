"""The whole command on painted nodules: two tiny bundles on one fold, continued, then their weights elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from lung_nodule.__main__ import main

BUNDLES = ("e2emtl", "mtmrnet")
OPTIONS = {
    "e2emtl": {
        "width": 0.125, "image_size": 32, "patch_mm": 32.0, "channels": ["ct"], "crop_variants": 1, "max_epochs": 1,
        "val_interval": 1, "batch_size": 4, "device": "cpu",
    },
    "mtmrnet": {
        "width": 0.125, "image_size": 32, "max_epochs": 1, "val_interval": 1, "batch_size": 8, "slices_per_nodule": 2,
        "device": "cpu",
    },
}  # fmt: skip


def part_of(dataset: Path, out: Path, *, tested: bool) -> Path:
    """The patients of fold 0, or the others, as a dataset of its own."""
    folds = pd.read_csv(dataset / "folds.csv")
    folds = folds[(folds["fold"] == 0) == tested]
    nodules = pd.read_csv(dataset / "nodules.csv")
    out.mkdir()
    (out / "voi").symlink_to(dataset / "voi")
    shutil.copy(dataset / "dataset.json", out)
    (folds.assign(fold="holdout") if tested else folds).to_csv(out / "folds.csv", index=False)
    nodules[nodules["patient_id"].isin(folds["patient_id"])].to_csv(out / "nodules.csv", index=False)
    return out


@pytest.mark.long
def test_the_whole_command(painted: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "out", tmp_path / "options.json"
    options.write_text(json.dumps(OPTIONS))
    command = ["benchmark", "--dataset_dir", str(painted), "--out", str(out), "--bundles", ",".join(BUNDLES)]
    command += ["--seeds", "1", "--folds", "0,", "--options", str(options), "--processes", "2"]
    assert main(command) == 0
    cell = out / "cells" / "mtmrnet" / "seed0" / "fold0"
    trained = (cell / "model.pt").stat().st_mtime_ns
    first = json.loads((out / "benchmark.json").read_text())
    assert main(command) == 0
    assert (cell / "model.pt").stat().st_mtime_ns == trained
    assert json.loads((out / "benchmark.json").read_text())["methods"] == first["methods"]
    table = pd.read_csv(out / "predictions.csv")
    methods = set(table["method"])
    assert {*BUNDLES, "constant", "diameter", "radiomics", "e2emtl mask: volume, calcium", "threshold"} <= methods
    networks = table[table["method"].isin(BUNDLES)]
    assert networks["malignancy_threshold"].notna().all()
    assert networks.groupby("method")["nodule_id"].nunique().tolist() == [4, 4]
    text = (out / "benchmark.md").read_text()
    assert "SYNTHETIC DATA" in text
    for picture in ("roc.png", "reliability.png", "dice_by_size.png", "attributes.png"):
        assert f"]({picture})" in text
        assert (out / picture).is_file()

    for bundle in BUNDLES:
        weights = out / "cells" / bundle / "seed0" / "fold0"
        (tmp_path / "weights" / bundle).mkdir(parents=True)
        for name in ("model.pt", "model.json"):
            shutil.copy(weights / name, tmp_path / "weights" / bundle)
    tested = part_of(painted, tmp_path / "tested", tested=True)
    others = part_of(painted, tmp_path / "others", tested=False)
    again = tmp_path / "again"
    command = ["benchmark", "--dataset_dir", str(tested), "--out", str(again), "--evaluate_only"]
    assert main([*command, "--weights", str(tmp_path / "weights"), "--fit_dir", str(others)]) == 0
    given = pd.read_csv(again / "predictions.csv")
    assert {*BUNDLES, "radiomics", "e2emtl mask: radiomics"} <= set(given["method"])
    for bundle in BUNDLES:
        both = [rows[rows["method"] == bundle].set_index("nodule_id")["malignancy_prob"] for rows in (table, given)]
        pd.testing.assert_series_equal(*(each.sort_index() for each in both), atol=1e-6)
    assert set(given["fold"]) == {"holdout"}
    assert "Baselines were fitted on another dataset." in (again / "benchmark.md").read_text()
