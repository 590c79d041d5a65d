"""Every view keeps its own best weights and stops on its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events

from lung_nodule.losses import ViewLoss
from lung_nodule.networks import MTCNN, RunningViews
from lung_nodule.training import ViewCheckpoints, ViewSelection

RISING = [0.5, 0.6, 0.7, 0.8, 0.9]


class Run:
    """A real network and optimizer on noise, whose validation returns given values."""

    def __init__(self, folder: Path, aucs: list[list[float]], patience: int = 2, kept_epoch: str = "best") -> None:
        torch.manual_seed(0)
        self.aucs, self.epochs = aucs, []
        self.network = MTCNN(width=0.125, image_size=24)
        self.selection = ViewSelection(network=self.network, patience=patience, kept_epoch=kept_epoch)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01)
        self.trainer = Engine(self.step)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.validate)
        self.history: list[dict[str, torch.Tensor]] = []
        validator = SimpleNamespace(state=SimpleNamespace(best_metric=-1.0, best_metric_epoch=-1))
        ViewCheckpoints(
            directory=folder, network=self.network, views=self.selection, state={"optimizer": self.optimizer},
            evaluator=validator if kept_epoch == "best" else None, settings={},
        ).attach(self.trainer)  # fmt: skip

    def step(self, engine: Engine, batch: int) -> None:
        torch.manual_seed(100 * engine.state.epoch + batch)
        self.optimizer.zero_grad(set_to_none=False)  # the harder case: gradients of 0 would still move by momentum
        image, label = torch.rand(2, 9, 24, 24), torch.tensor([[0.0], [1.0]])
        ViewLoss()(RunningViews(self.network)(image), label).backward()
        self.optimizer.step()

    def validate(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        self.epochs.append(epoch)
        self.history.append({name: value.clone() for name, value in self.network.state_dict().items()})
        self.selection.update([view[epoch - 1] for view in self.aucs], epoch=epoch)

    def go(self, epochs: int) -> Run:
        self.trainer.run([0, 1], max_epochs=epochs)
        return self

    def weight(self, epoch: int, view: int) -> torch.Tensor:
        return self.history[epoch - 1][f"views.{view}.classify.1.weight"]


def aucs_with(first: list[float]) -> list[list[float]]:
    """The first view's AUCs are given, the others' rise."""
    return [first] + [RISING] * 8


def test_a_stopped_view_moves_no_more_while_the_others_go_on(tmp_path: Path) -> None:
    run = Run(tmp_path, aucs_with([0.7, 0.6, 0.7, 0.9, 0.9])).go(5)
    torch.testing.assert_close(run.weight(5, 0), run.weight(3, 0), rtol=0, atol=0)
    assert not torch.equal(run.weight(3, 0), run.weight(2, 0))
    assert all(not torch.equal(run.weight(5, view), run.weight(4, view)) for view in range(1, 9))
    assert run.selection.epochs == [1] + [5] * 8
    assert run.selection.aucs[0] == 0.7


@pytest.mark.slow
def test_the_best_file_holds_every_views_own_best(tmp_path: Path) -> None:
    run = Run(tmp_path, aucs_with([0.6, 0.8, 0.7, 0.9, 0.7]), patience=3).go(5)
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    torch.testing.assert_close(best["views.0.classify.1.weight"], run.weight(4, 0), rtol=0, atol=0)
    torch.testing.assert_close(best["views.3.classify.1.weight"], run.weight(5, 3), rtol=0, atol=0)
    assert set(best) == set(run.network.state_dict())


def test_a_training_ends_when_every_view_has_stopped_and_is_not_repeated(tmp_path: Path) -> None:
    falling = [[0.9, 0.8, 0.7, 0.6, 0.5]] * 9
    assert Run(tmp_path, falling).go(5).epochs == [1, 2, 3]
    again = Run(tmp_path, falling).go(5)
    assert again.epochs == []
    assert again.selection.finished
    assert again.selection.settings()["view_epochs"] == [1] * 9


@pytest.mark.slow
def test_a_resumed_training_remembers_who_stopped(tmp_path: Path) -> None:
    aucs = aucs_with([0.9, 0.8, 0.7, 0.95, 0.95])
    whole = Run(tmp_path / "whole", aucs).go(5)
    first = Run(tmp_path / "parts", aucs)

    @first.trainer.on(Events.EPOCH_COMPLETED(once=3))
    def interrupt(engine: Engine) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.go(5)
    resumed = Run(tmp_path / "parts", aucs).go(5)
    assert resumed.epochs == [4, 5]
    assert resumed.selection.settings() == whole.selection.settings()
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, rtol=0, atol=0)


def test_aucs_are_measured_by_view() -> None:
    network = MTCNN(width=0.125, image_size=24)
    selection = ViewSelection(network=network)
    label = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    scores = label.repeat(1, 9)
    scores[:, 2] = torch.tensor([0.1, 0.6, 0.4, 0.9])
    scores[:, 3] = 1 - label[:, 0]
    batches = [{"pred": scores[:3], "label": label[:3]}, {"pred": scores[3:], "label": label[3:]}]
    evaluator = Engine(lambda engine, batch: batch)
    selection.attach(evaluator)
    for _ in range(2):  # a second validation starts from scratch
        evaluator.run(batches)
        assert evaluator.state.metrics["view_3_auc"] == 0.75
    assert selection.aucs == [1.0, 1.0, 0.75, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert sum(selection.settings()["view_weights"]) == pytest.approx(1)


def test_patience_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="patience must be at least 1"):
        ViewSelection(network=MTCNN(width=0.125, image_size=24), patience=0)


def test_with_the_last_epoch_kept_no_view_stops_and_the_last_validation_weighs(tmp_path: Path) -> None:
    run = Run(tmp_path, aucs_with([0.9, 0.8, 0.7, 0.6, 0.5]), patience=1, kept_epoch="last").go(5)
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    torch.testing.assert_close(best, dict(run.network.state_dict()), rtol=0, atol=0)
    assert run.selection.settings()["view_aucs"] == [0.5] + [0.9] * 8
    assert not run.selection.finished


@pytest.mark.slow
def test_without_a_validation_the_views_weigh_the_same() -> None:
    settings = ViewSelection(network=MTCNN(width=0.125, image_size=24), kept_epoch="last").settings()
    assert settings["view_weights"] == [pytest.approx(1 / 9)] * 9
    assert settings["view_aucs"] == []


def test_views_of_no_use_get_equal_weights(caplog: pytest.LogCaptureFixture) -> None:
    """All nine validated, none with an AUC above 0: as many nodules of one class as of two."""
    selection = ViewSelection(network=MTCNN(width=0.125, image_size=24), patience=2, kept_epoch="last")
    selection.update([0.0] * 9, epoch=1)
    assert selection.settings()["view_weights"] == pytest.approx([1 / 9] * 9)
    assert "all views get the same weight" in caplog.text
