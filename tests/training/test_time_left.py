"""How long a stage takes is said near its start and after every epoch, in a log as well."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.engines import Evaluator
from monai.handlers import ValidationHandler

from lung_nodule.training import TimeLeft, time_left
from lung_nodule.training.options.option_table import OF_BUNDLE
from lung_nodule.training.time_left import in_words

BUNDLES = Path(__file__).parents[2] / "bundles"
SMALL = "--width 0.25 --max_epochs 30"


class Clock:
    """A clock that a test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """What a stage logs, whose steps and validations take some seconds of a clock that is not the wall's."""
    clock = Clock()
    monkeypatch.setattr(time_left.time, "monotonic", clock)

    def run(
        *, step_s: float, epochs: int, steps: int, first_s: float = 0.0, validation_s: float = 0.0, device: str = "cpu",
        seen: int = 0, unit: str = "step",
    ) -> list[str]:  # fmt: skip
        def step(engine: Engine, batch: int) -> None:
            clock.now += step_s + (first_s if engine.state.iteration == seen * steps + 1 else 0.0)

        def resume(engine: Engine) -> None:
            engine.state.epoch, engine.state.iteration = seen, seen * steps

        def validate(engine: Engine) -> None:
            clock.now += validation_s

        engine = Engine(step)
        engine.state.device = torch.device(device)
        engine.add_event_handler(Events.STARTED, resume)
        engine.add_event_handler(Events.EPOCH_COMPLETED, validate)
        TimeLeft(stage="coarse", unit=unit, small_version=SMALL).attach(engine)
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="lung_nodule"):
            engine.run(list(range(steps)), max_epochs=epochs)
        return [record.getMessage() for record in caplog.records if record.name == time_left.__name__]

    return run


def test_one_line_near_the_start_says_it_all(lines: Callable[..., list[str]]) -> None:
    """Measured on the first steps but the very first, which is slow; options of a small version on a slow CPU."""
    said = lines(step_s=2.0, first_s=10.0, epochs=500, steps=10)
    assert said[0] == (
        "coarse: 500 epochs x 10 steps = 5000 steps, about 2 h 47 min on cpu (2.00 s a step, plus validation); "
        f"settings for a CPU: {SMALL}"
    )
    assert sum(SMALL in line for line in said) == 1


def test_where_steps_are_slow_the_first_one_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(), []
    monkeypatch.setattr(time_left.time, "monotonic", clock)
    monkeypatch.setattr(time_left.logger, "info", lambda line: said.append((clock.now, line)))

    def step(engine: Engine, batch: int) -> None:
        clock.now += 26.0

    engine = Engine(step)
    engine.state.device = torch.device("cpu")
    TimeLeft(stage="coarse", small_version=SMALL).attach(engine)
    engine.run([0, 1, 2], max_epochs=2500)
    assert said[0] == (
        26.0,
        "coarse: 2500 epochs x 3 steps = 7500 steps, about 54 h on cpu (26.00 s a step, plus validation); "
        f"settings for a CPU: {SMALL}",
    )


@pytest.mark.parametrize("case", [{"device": "cuda"}, {"step_s": 0.1}])
def test_no_advice_where_none_is_needed(lines: Callable[..., list[str]], case: dict[str, object]) -> None:
    said = lines(**{"step_s": 26.0, "epochs": 100, "steps": 4, **case})
    assert "400 steps, about" in said[0]
    assert not any(SMALL in line for line in said)


def test_every_epoch_says_what_is_left_with_validation(lines: Callable[..., list[str]]) -> None:
    said = lines(step_s=1.0, validation_s=50.0, epochs=4, steps=10)
    assert said == [
        "coarse: 4 epochs x 10 steps = 40 steps, about 40 s on cpu (1.00 s a step, plus validation)",
        "coarse: epoch 1 of 4, about 3 min left",
        "coarse: epoch 2 of 4, about 2 min left",
        "coarse: epoch 3 of 4, about 60 s left",
        "coarse: epoch 4 of 4, about 0 s left",
    ]


class Values(Metric):
    """A metric with the values that a test gives it, one for each validation."""

    def __init__(self, *values: float) -> None:
        self.values = iter(values)
        super().__init__()

    def reset(self) -> None:
        """Nothing is gathered."""

    def update(self, output: object) -> None:
        """Of what the network says it takes nothing."""

    def compute(self) -> float:
        return next(self.values)


def test_an_epoch_that_was_validated_says_how_it_did(caplog: pytest.LogCaptureFixture) -> None:
    """Every second epoch is."""
    metric = {"auc": Values(0.5, 0.75, 0.25)}
    validator = Evaluator("cpu", [0], key_val_metric=metric, iteration_update=lambda *_: 0, decollate=False)
    engine = Engine(lambda engine, batch: None)
    engine.state.device = torch.device("cpu")
    ValidationHandler(interval=2, validator=validator).attach(engine)
    TimeLeft(stage="class", validator=validator).attach(engine)
    with caplog.at_level(logging.INFO, logger="lung_nodule"):
        engine.run([0], max_epochs=6)
    said = [record.getMessage() for record in caplog.records if ": epoch " in record.getMessage()]
    assert [line.removeprefix("class: ").rpartition(", about")[0] for line in said] == [
        "epoch 1 of 6",
        "epoch 2 of 6, auc 0.500 (best 0.500)",
        "epoch 3 of 6",
        "epoch 4 of 6, auc 0.750 (best 0.750)",
        "epoch 5 of 6",
        "epoch 6 of 6, auc 0.250 (best 0.750)",
    ]


def test_a_resumed_stage_counts_what_is_left(lines: Callable[..., list[str]]) -> None:
    said = lines(step_s=1.0, epochs=10, steps=10, seen=7)
    assert said[0].startswith("coarse: 3 epochs x 10 steps = 30 steps, about 30 s")
    assert said[1] == "coarse: epoch 8 of 10, about 20 s left"


def test_a_finished_stage_says_nothing(lines: Callable[..., list[str]]) -> None:
    assert lines(step_s=1.0, epochs=3, steps=10, seen=3) == []


def test_epochs_shorter_than_the_measurement(lines: Callable[..., list[str]]) -> None:
    said = lines(step_s=2.0, epochs=2, steps=1)
    assert said[0].startswith("coarse: 2 epochs x 1 steps = 2 steps, about 4 s on cpu (2.00 s a step")


def test_a_long_epoch_logs_a_line_a_minute(lines: Callable[..., list[str]]) -> None:
    said = lines(step_s=10.0, epochs=1, steps=20, unit="nodule")
    assert said[0] == "coarse: 20 nodules, about 3 min on cpu (10.00 s a nodule)"
    assert said[1:] == [
        "coarse: nodule 8 of 20, about 2 min left",
        "coarse: nodule 14 of 20, about 60 s left",
        "coarse: nodule 20 of 20, about 0 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (89, "89 s"), (720, "12 min"), (7500, "2 h 05 min"), (198000, "55 h")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_0_alone_reports(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr(time_left.idist, "get_rank", lambda: rank)
    monkeypatch.setattr(time_left.logger, "info", said.append)
    engine = Engine(lambda engine, batch: None)
    engine.state.device = torch.device("cpu")
    TimeLeft(stage="coarse").attach(engine)
    engine.run([0, 1], max_epochs=2)
    assert bool(said) == (rank == 0)


@pytest.mark.parametrize("workflow", ["evaluate", "inference"])
@pytest.mark.parametrize("bundle", OF_BUNDLE)
def test_evaluation_and_inference_say_how_long_they_take(bundle: str, workflow: str) -> None:
    config = json.loads((BUNDLES / bundle / "configs" / f"{workflow}.json").read_text())
    assert "lung_nodule.training.TimeLeft" in {handler["_target_"] for handler in config["handlers"]}
