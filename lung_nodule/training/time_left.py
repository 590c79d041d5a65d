"""Time that a stage takes: one line near its start, then a bar on a terminal and lines in a log."""

from __future__ import annotations

import logging
import time
from typing import Any, cast

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from tqdm import tqdm

logger = logging.getLogger(__name__)

MEASURED_STEPS = 4
"""Number of steps of the first estimate, after one warm-up step."""
SLOW_STEP_S = 20.0
"""If the first step takes longer than this, it is itself the estimate."""
LOG_EVERY_S = 60.0
LONG_S = 3600.0


class TimeLeft:
    """Say how much a stage has to do and how long it takes, and keep that up to date.

    After the first few steps, one line: epochs, steps, the time that they take at the measured rate and, where that is
    over an hour on a CPU, settings for a CPU. After each epoch a line with its validation's key metric, if there was
    one, and the time left, which then counts validation as well. On a terminal a bar over the whole stage;
    elsewhere a line a minute within an epoch.

    Attach it as the last handler: what resumes and validates comes first.

    Args:
        stage: name of the stage.
        unit: name of a step.
        small_version: options of a version for a CPU, as on a command line; no advice when not given.
        validator: validation engine, run by an earlier handler; greater values of its key metric are better.
    """

    def __init__(
        self, *, stage: str, unit: str = "step", small_version: str | None = None, validator: Evaluator | None = None
    ) -> None:
        self.stage = stage
        self.unit = unit
        self.small_version = small_version
        self.validator = validator

    def attach(self, engine: Engine) -> None:
        """Called by the engine; of several ranks, rank 0 reports."""
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch)
        engine.add_event_handler(Events.COMPLETED, lambda _: self.bar.close())

    def start(self, engine: Engine) -> None:
        """Count what is left, from where a resumed stage goes on."""
        self.epochs = cast(int, engine.state.max_epochs) - engine.state.epoch
        self.total = self.epochs * cast(int, engine.state.epoch_length)
        self.done, self.done_epochs, self.announced = 0, 0, False
        self.started = self.logged = time.monotonic()
        self.warmed_up: float | None = None
        self.bar = tqdm(total=self.total, desc=self.stage, unit=f" {self.unit}s", smoothing=0, disable=None)

    def step(self, engine: Engine) -> None:
        """Take a step into account."""
        self.done += 1
        self.bar.update()
        now = time.monotonic()
        if self.done == 1 and now - self.started < SLOW_STEP_S:
            self.warmed_up = now
        elif not self.announced and (self.done > MEASURED_STEPS or now - self.started >= SLOW_STEP_S):
            since = self.started if self.warmed_up is None else self.warmed_up
            self._announce(engine, (now - since) / (self.done - (self.warmed_up is not None)))
        elif self.announced and self.bar.disable and now - self.logged >= LOG_EVERY_S:
            left = in_words((now - self.started) / self.done * (self.total - self.done))
            self._log(f"{self.unit} {self.done} of {self.total}, about {left} left", now)

    def epoch(self, engine: Engine) -> None:
        """Take an epoch into account, with its validation."""
        now = time.monotonic()
        self.done_epochs += 1
        if not self.announced:
            self._announce(engine, (now - self.started) / max(1, self.done))
        if self.epochs > 1 or self.validator is not None:
            left = in_words((now - self.started) / self.done_epochs * (self.epochs - self.done_epochs))
            count = f"epoch {engine.state.epoch} of {engine.state.max_epochs}"
            self._log(f"{count}{self._validated(engine.state.epoch)}, about {left} left", now)

    def _validated(self, epoch: int) -> str:
        """The key metric of this epoch's validation and the best so far."""
        if self.validator is None or self.validator.state.epoch != epoch:
            return ""
        state = cast(Any, self.validator.state)
        name = state.key_metric_name
        return f", {name} {state.metrics[name]:.3f} (best {state.best_metric:.3f})"

    def _announce(self, engine: Engine, each_s: float) -> None:
        self.announced = True
        device, needed = torch.device(cast(Any, engine.state).device).type, each_s * self.total
        count = f"{self.total} {self.unit}s"
        if self.epochs > 1:
            count = f"{self.epochs} epochs x {engine.state.epoch_length} {self.unit}s = {count}"
        line = f"{count}, about {in_words(needed)} on {device} ({each_s:.2f} s a {self.unit}"
        line += ", plus validation)" if self.epochs > 1 else ")"
        if self.small_version and device == "cpu" and needed > LONG_S:
            line += f"; settings for a CPU: {self.small_version}"
        self._log(line, time.monotonic())

    def _log(self, line: str, now: float) -> None:
        self.logged = now
        logger.info(f"{self.stage}: {line}")


def in_words(seconds: float) -> str:
    """A duration as a person says it: 40 s, 12 min, 2 h 05 min, 55 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 10 else f"{round(seconds / 3600)} h"
