"""Learning rates over a training, also over one that continues with another number of epochs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from torch.optim.lr_scheduler import LRScheduler


def three_rates(max_epochs: int) -> Callable[[int], float]:
    """The factor of the learning rate by epoch: 1 in the first half, then 0.1, in the last quarter 0.05.

    Args:
        max_epochs: number of epochs of the training.

    Returns:
        what ``torch.optim.lr_scheduler.LambdaLR`` takes.
    """

    def factor(epoch: int) -> float:
        return 1.0 if epoch < max_epochs / 2 else 0.1 if epoch < 0.75 * max_epochs else 0.05

    return factor


def rates_of(scheduler: LRScheduler) -> list[float]:
    """The learning rates of a schedule's optimizer now, by parameter group."""
    return [group["lr"] for group in scheduler.optimizer.param_groups]


def continue_schedule(scheduler: LRScheduler, *, first_rates: Sequence[float], steps: int) -> None:
    """Bring a schedule that was built for another length to the position where an earlier one stopped.

    Args:
        scheduler: schedule as it was built, with no step taken.
        first_rates: learning rates of its optimizer when it was built, by parameter group.
        steps: number of steps that the earlier schedule had taken.
    """
    for group, rate in zip(scheduler.optimizer.param_groups, first_rates, strict=True):
        group["lr"] = rate
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch expects a step of the optimizer before each of these
        for _ in range(steps):
            scheduler.step()
