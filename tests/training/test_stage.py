"""A stage: what its engines do, in which order, on one rank or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.handlers import MeanSquaredError, StatsHandler, TensorBoardStatsHandler, from_engine
from monai.inferers import SimpleInferer
from monai.transforms import Compose, RandShiftIntensityd
from torch import nn

from lung_nodule.errors import InputError
from lung_nodule.training import Pretrained, Stage, StageCheckpoints, TrainingLoader, stage, trainer_of


class Terms(nn.Module):
    """A loss that names its terms."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.terms(output, target)["square"]

    def terms(self, output: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"square": (output - target).square().mean()}


class Minus(MeanSquaredError):
    """Greater is better."""

    def compute(self) -> float:
        return -super().compute()


def toy(directory: Path, **changes: Any) -> Stage:
    """A line fitted to eight points."""
    torch.manual_seed(0)
    network = nn.Linear(1, 1)
    points = [{"image": torch.full((1,), float(x)), "label": torch.full((1,), 2.0 * x)} for x in range(8)]
    shift = Compose([RandShiftIntensityd("image", offsets=0.1, prob=1.0)])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    given = {
        "name": "toy", "directory": directory, "device": "cpu", "network": network, "inferer": SimpleInferer(),
        "dataloader": TrainingLoader(Dataset(points, shift), batch_size=4), "targets": "label",
        "loss": Terms(), "optimizer": optimizer, "seed": 3, "settings": {"width": 1},
        "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, step_size=3),
        "validation_loader": DataLoader(Dataset(points), batch_size=1), "validation_inferer": SimpleInferer(),
        "key_metric": {"minus_mse": Minus(output_transform=from_engine(["pred", "label"]))},
    }  # fmt: skip
    return Stage(**{**given, **changes})


def test_a_stage_learns_validates_keeps_and_resumes(tmp_path: Path) -> None:
    first = toy(tmp_path)
    first.trainer(max_epochs=3).run()
    assert first.validator.state.epoch == 3
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    assert (last["epoch"], last["settings"]) == (3, {"width": 1})
    assert (tmp_path / "best.pt").is_file()
    again = toy(tmp_path)
    trainer = again.trainer(max_epochs=3)
    trainer.run()
    assert trainer.state.epoch == 3
    torch.testing.assert_close(again.network.weight, first.network.weight, rtol=0, atol=0)
    with pytest.raises(InputError, match="was trained with width=1, not 2"):
        toy(tmp_path, settings={"width": 2}).trainer(max_epochs=3).run()


def test_the_same_seed_gives_the_same_weights_and_another_others(tmp_path: Path) -> None:
    weights = []
    for number, seed in enumerate((3, 3, 4)):
        one = toy(tmp_path / str(number), seed=seed)
        one.trainer(max_epochs=2).run()
        weights.append(one.network.weight.item())
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize(("by_epoch", "rate"), [(True, 0.01), (False, 0.001)])
def test_the_schedule_steps_by_epoch_or_by_batch(by_epoch: bool, rate: float, tmp_path: Path) -> None:
    one = toy(tmp_path, steps_by_epoch=by_epoch)
    one.trainer(max_epochs=2).run()  # four batches, and a step at the third
    assert one.optimizer.param_groups[0]["lr"] == pytest.approx(rate)


def test_of_equal_epochs_the_last_is_kept(tmp_path: Path) -> None:
    one = toy(tmp_path)
    one.optimizer.param_groups[0]["lr"] = 0.0
    one.lr_scheduler.base_lrs = [0.0]
    one.trainer(max_epochs=3).run()
    assert one.validator.state.best_metric_epoch == 3


def test_what_starts_a_stage_comes_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream weights, then a resumed state, then pretrained weights, which look at the epoch that was resumed."""
    calls: list[str] = []
    monkeypatch.setattr(StageCheckpoints, "resume", lambda self, engine: calls.append("resume"))
    monkeypatch.setattr("lung_nodule.training.initial_weights.load_pretrained", lambda *_, **__: calls.append("file"))
    upstream = tmp_path / "coarse" / "best.pt"
    upstream.parent.mkdir()
    torch.save({"weight": torch.ones(1, 1), "bias": torch.ones(1)}, upstream)
    one = toy(tmp_path / "fine", upstream=upstream)
    one.initialized = [one.network]
    one.pretrained = Pretrained(checkpoint="any.pt", network=one.network, layout="xception")
    trainer = one.trainer(max_epochs=1)

    @trainer.on(Events.STARTED)
    def stop(engine: object) -> None:
        calls.append(f"weight {one.network.weight.item():g}")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert calls == ["resume", "file", "weight 1"]
    upstream.unlink()
    with pytest.raises(InputError, match="run the stage `coarse` first"):
        one.trainer(max_epochs=1).run()


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_0_alone_logs(rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.idist, "get_rank", lambda: rank)
    built: list[str] = []
    for kind in (StatsHandler, TensorBoardStatsHandler):
        monkeypatch.setattr(kind, "attach", lambda self, engine: built.append(type(self).__name__))
    toy(tmp_path).trainer(max_epochs=1)
    assert sorted(built) == sorted(2 * ["StatsHandler", "TensorBoardStatsHandler"] if rank == 0 else [])
    assert (tmp_path / "events").exists() == (rank == 0)


def test_a_users_handlers_are_attached(tmp_path: Path) -> None:
    class Count:
        epochs = 0

        def attach(self, engine: Any) -> None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.count)

        def count(self, engine: object) -> None:
            self.epochs += 1

    training, validation = Count(), Count()
    toy(tmp_path, handlers=[training], validation_handlers=[validation], val_interval=2).trainer(max_epochs=4).run()
    assert (training.epochs, validation.epochs) == (4, 2)


def test_the_terms_of_a_loss_are_logged(tmp_path: Path) -> None:
    one = toy(tmp_path)
    output = {"pred": torch.ones(2, 1), "label": torch.zeros(2, 1), "loss": torch.tensor(5.0)}
    assert one._loss_and_terms(output) == {"square": 1.0, "train_loss": 5.0}
    assert toy(tmp_path, loss=nn.MSELoss())._loss_and_terms(output) == 5.0


def test_a_configuration_names_the_epochs_with_the_trainer(tmp_path: Path) -> None:
    trainer = trainer_of(toy(tmp_path), max_epochs=7)
    assert trainer.state.max_epochs == 7


class Diverges(Terms):
    """Finite for a number of steps."""

    def __init__(self, *, steps: int) -> None:
        super().__init__()
        self.left = steps

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        return super().forward(output, target) * (1.0 if self.left >= 0 else float("inf"))


def test_a_training_that_diverges_stops_and_keeps_the_last_finite_state(tmp_path: Path) -> None:
    """Two steps an epoch: the fourth is the second epoch's last."""
    with pytest.raises(InputError, match=r"stage toy: the loss is NaN or infinite in epoch 2, at a learning rate"):
        toy(tmp_path, loss=Diverges(steps=3)).trainer(max_epochs=3).run()
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    assert last["epoch"] == 1
    assert all(tensor.isfinite().all() for tensor in last["network"].values())
    again = toy(tmp_path)
    again.trainer(max_epochs=3).run()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 3


def test_weights_that_the_last_step_made_infinite_are_not_kept(tmp_path: Path) -> None:
    one = toy(tmp_path)
    for group in one.optimizer.param_groups:
        group["lr"] = 1e38
    with pytest.raises(InputError, match=r"stage toy: (the loss|a weight) is NaN or infinite in epoch 1"):
        one.trainer(max_epochs=1).run()
    assert not (tmp_path / "last.pt").exists()
