"""The running average of a stage's weights: its value, where it is used, and how it resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from torch import nn

from lung_nodule.training.weight_average import LentWeights, WeightAverage
from tests.training.test_stage import toy


def test_the_average_is_exponential_and_includes_the_batch_norm_statistics() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average, expected = WeightAverage(network=network, decay=0.75), None
    trainer = Engine(lambda _, batch: network(batch))
    average.attach(trainer)

    @trainer.on(Events.ITERATION_STARTED)
    def change() -> None:
        with torch.no_grad():
            network[0].weight.normal_()

    @trainer.on(Events.ITERATION_COMPLETED)
    def follow() -> None:
        nonlocal expected
        now = torch.cat([network[0].weight.detach().ravel(), network[1].running_mean])
        expected = now.clone() if expected is None else 0.75 * expected + 0.25 * now

    torch.manual_seed(0)
    trainer.run([torch.rand(4, 2) for _ in range(5)], max_epochs=1)
    kept = average.averaged.module
    torch.testing.assert_close(torch.cat([kept[0].weight.ravel(), kept[1].running_mean]), expected)


def test_weights_are_lent_for_one_run_even_if_it_fails() -> None:
    own, other = nn.Linear(1, 1), nn.Linear(1, 1)
    before, lent_weight, seen = own.weight.item(), other.weight.item(), []
    lent = LentWeights(own, other)

    def step(_: Engine, batch: int) -> None:
        seen.append(own.weight.item())
        if batch:
            raise RuntimeError("broken")

    evaluator = Engine(step)
    lent.attach(evaluator)
    evaluator.run([0])
    with pytest.raises(RuntimeError, match="broken"):
        evaluator.run([1])
    assert seen == [lent_weight] * 2
    assert own.weight.item() == before
    assert other.weight.item() == lent_weight


def test_a_stage_validates_and_keeps_the_average(tmp_path: Path) -> None:
    stage = toy(tmp_path, average_decay=0.5)
    seen = []
    stage.validator.add_event_handler(Events.ITERATION_COMPLETED, lambda _: seen.append(stage.network.weight.item()))
    stage.trainer(max_epochs=2).run()
    kept = torch.load(tmp_path / "best.pt", weights_only=True)
    assert stage.average is not None
    assert kept["weight"].item() == seen[-1] == stage.average.averaged.module.weight.item()
    assert kept["weight"].item() != stage.network.weight.item()


def test_a_resumed_stage_ends_with_the_same_average(tmp_path: Path) -> None:
    toy(tmp_path / "one", average_decay=0.5).trainer(max_epochs=3).run()
    toy(tmp_path / "two", average_decay=0.5).trainer(max_epochs=1).run()
    toy(tmp_path / "two", average_decay=0.5).trainer(max_epochs=3).run()
    one, two = (torch.load(tmp_path / name / "best.pt", weights_only=True) for name in ("one", "two"))
    assert one["weight"].item() == pytest.approx(two["weight"].item(), abs=1e-6)


def test_the_last_epoch_is_kept_with_or_without_a_validation(tmp_path: Path) -> None:
    for name, changes in {
        "alone": {"validation_loader": DataLoader(Dataset([]))},
        "validated": {"val_interval": 2},
    }.items():
        stage = toy(tmp_path / name, kept_epoch="last", **changes)
        stage.trainer(max_epochs=3).run()
        kept = torch.load(tmp_path / name / "best.pt", weights_only=True)
        assert kept["weight"].item() == stage.network.weight.item()
