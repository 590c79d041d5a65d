"""A stage that is interrupted goes on where it stopped, and a finished one is not repeated."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events

import lung_nodule
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256
from lung_nodule.training import LoadStageWeights, StageCheckpoints, write_model


class Run:
    """A trainer of one number, whose validation returns given values."""

    def __init__(
        self, folder: Path, metrics: list[float], settings: dict | None = None, *, upstream: Path | None = None,
        step: int | None = None,
    ) -> None:  # fmt: skip
        self.network = torch.nn.Linear(1, 1)
        self.epochs: list[int] = []
        self.rates: list[float] = []
        self.evaluator = SimpleNamespace(state=SimpleNamespace(best_metric=-1.0, best_metric_epoch=-1))
        optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1)
        if step is None:
            schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=2 * len(metrics), power=0.9)
        else:
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2 * step)
        self.trainer = Engine(lambda engine, batch: self.rates.append(optimizer.param_groups[0]["lr"]))
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: (optimizer.step(), schedule.step()))
        self.trainer.state.max_epochs, self.trainer.state.epoch_length = len(metrics), 2
        self.metrics = metrics
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.validate)
        StageCheckpoints(
            directory=folder, network=self.network, state={"optimizer": optimizer, "lr_scheduler": schedule},
            evaluator=self.evaluator, settings=settings or {"width": 1.0}, schedule={"step": step}, upstream=upstream,
        ).attach(self.trainer)  # fmt: skip

    def validate(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        self.epochs.append(epoch)
        torch.nn.init.constant_(self.network.weight, float(epoch))
        if self.metrics[epoch - 1] > self.evaluator.state.best_metric:
            self.evaluator.state.best_metric = self.metrics[epoch - 1]
            self.evaluator.state.best_metric_epoch = epoch

    def go(self, *, until: int | None = None) -> Run:
        def stop(engine: Engine) -> None:
            if engine.state.epoch == until:
                raise KeyboardInterrupt

        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, stop)
        try:
            self.trainer.run([0, 1], max_epochs=len(self.metrics))
        except KeyboardInterrupt:
            assert until is not None
        return self


def best(folder: Path) -> float:
    return torch.load(folder / "best.pt", weights_only=True)["weight"].item()


def test_a_stage_of_another_version_is_refused_by_what_it_did_not_know(tmp_path: Path) -> None:
    Run(tmp_path, [0.2]).go()
    with pytest.raises(InputError, match="another version, which did not know loosen: remove it or name another"):
        Run(tmp_path, [0.2, 0.3], {"width": 1.0, "loosen": 0.5}).go()


def test_best_weights_are_kept(tmp_path: Path) -> None:
    Run(tmp_path, [0.2, 0.6, 0.4]).go()
    assert best(tmp_path) == 2


def test_resumes_after_an_interruption_and_remembers_the_best(tmp_path: Path) -> None:
    Run(tmp_path, [0.2, 0.6, 0.4, 0.5]).go(until=2)
    resumed = Run(tmp_path, [0.2, 0.6, 0.4, 0.5]).go()
    assert resumed.epochs == [3, 4]
    assert best(tmp_path) == 2


def test_a_finished_stage_runs_no_epoch_again(tmp_path: Path) -> None:
    Run(tmp_path, [0.2, 0.6]).go()
    again = Run(tmp_path, [0.2, 0.6]).go()
    assert again.epochs == []
    assert again.network.weight.item() == 2


def test_other_settings_are_refused(tmp_path: Path) -> None:
    Run(tmp_path, [0.2, 0.3]).go()
    with pytest.raises(InputError, match=r"trained with width=1.0, not 0.5"):
        Run(tmp_path, [0.2, 0.3], settings={"width": 0.5}).go()


@pytest.mark.parametrize("stopped_after", [None, 2])
def test_more_epochs_go_on_at_the_rates_of_the_longer_run(tmp_path: Path, stopped_after: int | None) -> None:
    """Finished or interrupted: from its epoch on, the schedule is that of a run of five."""
    longer = [0.2, 0.6, 0.4, 0.5, 0.7]
    straight = Run(tmp_path / "straight", longer).go()
    Run(tmp_path / "out", longer[:3]).go(until=stopped_after)
    seen = stopped_after or 3
    extended = Run(tmp_path / "out", longer).go()
    assert extended.epochs == list(range(seen + 1, 6))
    assert extended.rates == pytest.approx(straight.rates[2 * seen :])
    assert min(extended.rates) > 0
    saved = torch.load(tmp_path / "out" / "last.pt", weights_only=True)
    assert (saved["epoch"], saved["max_epochs"]) == (5, 5)
    assert saved["extended"] == [{"after": seen, "from": 3, "to": 5}]
    assert best(tmp_path / "out") == 5
    assert Run(tmp_path / "out", longer).go().epochs == []


def test_an_extended_stage_is_resumed_as_it_is(tmp_path: Path) -> None:
    longer = [0.2, 0.6, 0.4, 0.5, 0.7]
    Run(tmp_path, longer[:2]).go()
    Run(tmp_path, longer).go(until=4)
    resumed = Run(tmp_path, longer).go()
    straight = Run(tmp_path / "straight", longer).go()
    assert resumed.epochs == [5]
    assert resumed.rates == pytest.approx(straight.rates[8:])
    assert len(torch.load(tmp_path / "last.pt", weights_only=True)["extended"]) == 1


def test_a_schedule_that_does_not_depend_on_the_length_is_that_of_one_run(tmp_path: Path) -> None:
    first = Run(tmp_path, [0.1, 0.2], step=1).go()
    second = Run(tmp_path, [0.1, 0.2, 0.3, 0.4], step=1).go()
    straight = Run(tmp_path / "straight", [0.1, 0.2, 0.3, 0.4], step=1).go()
    assert first.rates + second.rates == pytest.approx(straight.rates)


def test_a_stage_can_end_earlier_but_not_before_what_it_has_seen(tmp_path: Path) -> None:
    Run(tmp_path, [0.2, 0.3, 0.4, 0.5, 0.6]).go(until=2)
    with pytest.raises(InputError, match="has seen 2 epochs, more than the 1 asked for: ask for 2 or more"):
        Run(tmp_path, [0.2]).go()
    assert Run(tmp_path, [0.2, 0.3, 0.4]).go().epochs == [3]
    with pytest.raises(InputError, match="has seen 3 epochs, more than the 2 asked for"):
        Run(tmp_path, [0.2, 0.3]).go()


def test_the_schedules_settings_are_free_with_the_length_alone(tmp_path: Path) -> None:
    Run(tmp_path, [0.2, 0.3], step=1).go()
    with pytest.raises(InputError, match="was trained with step=1, not 2"):
        Run(tmp_path, [0.2, 0.3], step=2).go()
    assert Run(tmp_path, [0.2, 0.3, 0.4], step=2).go().epochs == [3]


def test_the_length_of_an_older_file_is_read_from_its_settings(tmp_path: Path) -> None:
    Run(tmp_path, [0.2, 0.3]).go()
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    for key in ("max_epochs", "extended"):
        saved.pop(key)
    torch.save({**saved, "settings": {**saved["settings"], "max_epochs": 2}}, tmp_path / "last.pt")
    assert Run(tmp_path, [0.2, 0.3]).go().epochs == []
    assert Run(tmp_path, [0.2, 0.3, 0.4]).go().epochs == [3]


def test_a_stage_whose_upstream_weights_have_changed_is_trained_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line, and what it was stays in a folder of its own."""
    earlier = tmp_path / "coarse" / "best.pt"
    earlier.parent.mkdir()
    torch.save(torch.nn.Linear(1, 1).state_dict(), earlier)
    hash_before = file_sha256(earlier)
    Run(tmp_path / "fine", [0.6, 0.2], upstream=earlier).go()
    assert Run(tmp_path / "fine", [0.6, 0.2, 0.3], upstream=earlier).go().epochs == [3]
    before = {name: (tmp_path / "fine" / name).read_bytes() for name in ("last.pt", "best.pt")}
    torch.save(torch.nn.Linear(1, 1).state_dict(), earlier)
    caplog.clear()
    assert Run(tmp_path / "fine", [0.1, 0.2, 0.3], upstream=earlier).go().epochs == [1, 2, 3]
    assert best(tmp_path / "fine") == 3
    kept = tmp_path / "fine" / f"upstream_{hash_before[:12]}"
    assert {name: (kept / name).read_bytes() for name in before} == before
    (warned,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "best.pt has changed since 3 epochs were trained with it: trained again from the start" in warned


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    Run(tmp_path, [0.2]).go()
    (tmp_path / "last.pt").write_bytes(b"half")
    with pytest.raises(InputError, match="cannot be resumed"):
        Run(tmp_path, [0.2]).go()


def test_weights_are_loaded_by_name_and_shape(tmp_path: Path) -> None:
    source, target = (
        torch.nn.Sequential(torch.nn.Linear(2, 3)),
        torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)),
    )
    torch.save(source.state_dict(), tmp_path / "best.pt")
    own = target[1].weight.clone()
    LoadStageWeights(checkpoint=tmp_path / "best.pt", network=target)(None)
    torch.testing.assert_close(target[0].weight, source[0].weight)
    torch.testing.assert_close(target[1].weight, own)


def test_what_does_not_fit_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the stage"):
        LoadStageWeights(checkpoint=tmp_path / "best.pt", network=torch.nn.Linear(2, 3))(None)
    torch.save(torch.nn.Linear(2, 4).state_dict(), tmp_path / "best.pt")
    with pytest.raises(InputError, match="another network"):
        LoadStageWeights(checkpoint=tmp_path / "best.pt", network=torch.nn.Linear(2, 3))(None)


def write_stage(folder: Path, module: torch.nn.Module, upstream: Path | None = None) -> Path:
    """What a finished stage leaves; the path of its best weights."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), folder / "best.pt")
    settings = {"upstream": file_sha256(upstream)} if upstream else {}
    made_with = {"settings": {**settings, "seed": 3}, "schedule": {"cycles": 1}, "seconds": 90.0}
    torch.save({**made_with, "epoch": 5, "extended": [{"after": 3, "from": 3, "to": 5}]}, folder / "last.pt")
    os.utime(folder / "last.pt", (0, 0))
    return folder / "best.pt"


def test_other_ranks_take_the_best_weights_and_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, trained = torch.nn.ModuleDict({"a": torch.nn.Linear(1, 1)}), torch.nn.Linear(1, 1)
    monkeypatch.setattr("lung_nodule.training.assemble.idist.get_rank", lambda: 1)
    stages = {"a": write_stage(tmp_path / "a", trained)}
    write_model(tmp_path / "model.pt", network=network, stages=stages, settings={})
    torch.testing.assert_close(network["a"].weight, trained.weight)
    assert not (tmp_path / "model.pt").exists()


def test_a_model_is_put_together_from_all_stages_or_not_at_all(tmp_path: Path) -> None:
    network = torch.nn.ModuleDict({"a": torch.nn.Linear(1, 1), "b": torch.nn.Linear(1, 1)})
    other = torch.nn.Linear(1, 1)
    stages = {"a": write_stage(tmp_path / "a", other), "b": tmp_path / "b" / "best.pt"}
    with pytest.raises(InputError, match=r"missing: .*b.best.pt"):
        write_model(tmp_path / "model.pt", network=network, stages=stages, settings={})
    assert not (tmp_path / "model.pt").exists()
    write_stage(tmp_path / "b", other, upstream=stages["a"])
    write_model(tmp_path / "model.pt", network=network, stages=stages, settings={"width": 1.0})
    torch.testing.assert_close(torch.load(tmp_path / "model.pt", weights_only=True)["b.weight"], other.weight)
    side_file = json.loads((tmp_path / "model.json").read_text())
    software = side_file.pop("software")
    assert software["torch"] == torch.__version__
    assert software["lung_nodule"].startswith(lung_nodule.__version__)
    record = {
        "epochs": 5, "extended": [{"after": 3, "from": 3, "to": 5}], "minutes": 1.5,
        "ended": "1970-01-01T00:00:00+00:00", "options": {"seed": 3, "cycles": 1},
    }  # fmt: skip
    of_b = {**record, "options": {"seed": 3, "cycles": 1, "upstream": file_sha256(stages["a"])}}
    assert side_file == {
        "width": 1.0, "training": {"a": record, "b": of_b}, "weights_sha256": file_sha256(tmp_path / "model.pt"),
    }  # fmt: skip


def test_the_time_of_a_resumed_stage_is_that_of_all_its_runs(tmp_path: Path) -> None:
    """Saved with every epoch, and added up over the runs."""
    Run(tmp_path, [0.2]).go()
    first = torch.load(tmp_path / "last.pt", weights_only=True)
    assert first["seconds"] > 0
    torch.save({**first, "seconds": 1000.0}, tmp_path / "last.pt")
    Run(tmp_path, [0.2, 0.3]).go()
    assert 1000 < torch.load(tmp_path / "last.pt", weights_only=True)["seconds"] < 1100


def test_a_stage_with_other_upstream_weights_is_stale(tmp_path: Path) -> None:
    network = torch.nn.ModuleDict({"a": torch.nn.Linear(1, 1), "b": torch.nn.Linear(1, 1)})
    stages = {"a": write_stage(tmp_path / "a", torch.nn.Linear(1, 1))}
    stages["b"] = write_stage(tmp_path / "b", torch.nn.Linear(1, 1), upstream=stages["a"])
    write_stage(tmp_path / "a", torch.nn.Linear(1, 1))
    with pytest.raises(InputError, match=r"`b` .* was trained with other upstream weights"):
        write_model(tmp_path / "model.pt", network=network, stages=stages, settings={})
    assert not (tmp_path / "model.pt").exists()
