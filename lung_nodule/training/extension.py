"""A training that goes on with another number of epochs than it was begun with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler


def planned_epochs(saved: dict[str, Any]) -> int:
    """How many epochs the run that left a ``last.pt`` was to have."""
    return saved["max_epochs"] if "max_epochs" in saved else saved["settings"]["max_epochs"]


def rates_of(scheduler: LRScheduler) -> list[float]:
    """The learning rates of a schedule's optimizer now, by parameter group."""
    return [group["lr"] for group in scheduler.optimizer.param_groups]


def continue_schedule(scheduler: LRScheduler, *, first_rates: Sequence[float], steps: int) -> None:
    """Bring a schedule that was built for another length to the position where an earlier one stopped.

    Args:
        scheduler: as it was built, with no step taken.
        first_rates: the rates of its optimizer when it was built, by parameter group.
        steps: how many steps the earlier schedule had taken.
    """
    for group, rate in zip(scheduler.optimizer.param_groups, first_rates, strict=True):
        group["lr"] = rate
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch expects a step of the optimizer before each of these
        for _ in range(steps):
            scheduler.step()


def training_record(last: str | Path) -> dict[str, Any]:
    """What a stage's ``last.pt`` says about its length, for a model's side file.

    Returns:
        ``epochs`` seen, and ``extended``: for each change of length ``after`` (epochs), ``from`` and ``to``.
    """
    saved = torch.load(last, map_location="cpu", weights_only=True, mmap=True)
    return {"epochs": saved["epoch"], "extended": saved.get("extended", [])}
