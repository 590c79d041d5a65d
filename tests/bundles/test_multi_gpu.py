"""Several processes: a training that one process can go on with, and odd numbers of nodules."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.bundles import test_mtnet

pytestmark = pytest.mark.slow

runner = test_mtnet.TestMTNet()


def with_nodules(painted: Path, out: Path, count: int) -> Path:
    """The painted dataset with only the first ``count`` nodules of the test fold."""
    shutil.copytree(painted, out)
    nodules = pd.read_csv(out / "nodules.csv")
    tested = nodules.index[nodules["patient_id"].isin(["SYN-0000", "SYN-0005"])]
    nodules.drop(tested[count:]).to_csv(out / "nodules.csv", index=False)
    return out


@pytest.fixture(scope="module")
def trained_on_two(painted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("two")
    runner.run_on_two("training", "train", dataset=painted, output=output, **runner.small)
    return output


@pytest.fixture(scope="module")
def three(painted: Path, trained_on_two: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """``predictions.csv`` of three nodules, by one process."""
    dataset = with_nodules(painted, tmp_path_factory.mktemp("three") / "dataset", 3)
    runner.run("evaluating", "evaluate", dataset=dataset, output=trained_on_two, device="cpu")
    return (trained_on_two / "evaluation" / "predictions.csv").read_text()


def test_rank_0_alone_writes(trained_on_two: Path) -> None:
    processes = {path.name.split(".")[-2] for path in trained_on_two.rglob("events.out.tfevents*")}
    assert len(processes) == 1
    weights = torch.load(trained_on_two / "model.pt", weights_only=True)
    assert not [name for name in weights if name.startswith("module.")]


@pytest.mark.long
def test_a_training_on_two_is_resumed_on_two(trained_on_two: Path, painted: Path) -> None:
    before = (trained_on_two / "model.pt").read_bytes()
    said = runner.run_on_two("training", "train", dataset=painted, output=trained_on_two, **runner.small)
    assert said.count("resumed after epoch 1 of 1") == 3  # a line a stage: rank 1 keeps silent
    assert (trained_on_two / "model.pt").read_bytes() == before


@pytest.mark.parametrize("count", [1, 3])
def test_odd_numbers_of_nodules(three: str, trained_on_two: Path, painted: Path, tmp_path: Path, count: int) -> None:
    dataset = with_nodules(painted, tmp_path / "dataset", count)
    out = tmp_path / "results"
    runner.run_on_two_ranks("evaluating", "evaluate", dataset=dataset, output=trained_on_two, results_dir=out)
    assert (out / "predictions.csv").read_text().splitlines() == three.splitlines()[: count + 1]
