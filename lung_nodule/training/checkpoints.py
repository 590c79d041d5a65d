"""Checkpoints that survive an interruption."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from lung_nodule.errors import InputError
from lung_nodule.io import atomic_path, file_sha256
from lung_nodule.training.schedules import continue_schedule, rates_of
from torch.optim.lr_scheduler import LRScheduler

logger = logging.getLogger(__name__)


def save_tensors(path: str | Path, content: dict[str, Any]) -> None:
    """Save atomically; the same content gives the same bytes (torch would write the temporary file's name into it)."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


class StageCheckpoints:
    """Resume a stage where it stopped, and keep its last state and its best weights.

    ``<directory>/last.pt`` holds the state of everything in ``state`` after the last finished epoch; a later run
    resumes from it, and a finished stage runs no epoch again. ``<directory>/best.pt`` holds the weights of the best
    validation. Ignite's ``Checkpoint`` with ``DiskSaver(atomic=True)`` writes whole files as well, but it restores them
    unconditionally; here settings, length and upstream weights are compared before anything is loaded.

    A stage may continue with another number of epochs than it was started with, finished or not, as long as it has not
    run more. Its learning-rate schedules are built for the new length and continue at the position of the epoch; what
    was changed is kept in ``last.pt``. A stage whose upstream weights have changed since is trained again from scratch;
    the old files are kept in a folder next to the new ones.

    Attach it after the handlers that validate.

    Args:
        directory: folder of the stage.
        network: the module whose weights are the stage's result.
        state: objects that a resumed run needs (optimizer, learning-rate schedule), by name.
        evaluator: validation engine; its key metric picks the best epoch (greater is better). Without one the last
            epoch is kept.
        result: module with the weights to keep; ``network`` when not given.
        settings: settings of the run; a run with other settings refuses to resume the checkpoint.
        schedule: settings that may follow from the number of epochs: others are refused unless that has changed.
        upstream: ``best.pt`` of the earlier stage whose weights this one is trained with.
    """

    def __init__(
        self,
        *,
        directory: str | Path,
        network: torch.nn.Module,
        state: dict[str, Any],
        evaluator: Engine | None,
        settings: dict[str, Any],
        schedule: dict[str, Any] | None = None,
        upstream: str | Path | None = None,
        result: torch.nn.Module | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.network = network
        self.result = network if result is None else result
        self.state = state
        self.evaluator = evaluator
        self.settings = settings
        self.schedule = schedule or {}
        self.upstream = upstream
        self.extended: list[dict[str, int]] = []
        self.seconds_before = 0.0

    def attach(self, engine: Engine) -> None:
        """Called by the trainer."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def start(self, engine: Engine) -> None:
        """Resume, and measure the time from here on."""
        self.resume(engine)
        self.started = time.monotonic()

    def resume(self, engine: Engine) -> None:
        """Load the last state, if there is one.

        Raises:
            InputError: it cannot be read, was made with other settings, or has seen more epochs than are asked for.
        """
        path = self.directory / "last.pt"
        if self.upstream is not None:
            self.settings = {**self.settings, "upstream": file_sha256(self.upstream)}
        if not path.is_file():
            return
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            if self._is_stale(saved):
                self._keep_stale(saved)
                return
            self._check(saved, engine, path)
            self._load(saved, engine)
        except InputError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path} cannot be resumed ({reason}); remove it or name another --output_dir") from error
        engine.state.epoch = saved["epoch"]
        engine.state.iteration = saved["epoch"] * engine.state.epoch_length
        if self.evaluator is not None:
            cast(Any, self.evaluator.state).best_metric = saved["best_metric"]
            cast(Any, self.evaluator.state).best_metric_epoch = saved["best_epoch"]
        logger.info(f"{self.directory}: resumed after epoch {saved['epoch']} of {engine.state.max_epochs}")

    def _is_stale(self, saved: dict[str, Any]) -> bool:
        upstream = saved["settings"].get("upstream")
        return upstream is not None and upstream != self.settings.get("upstream")

    def _keep_stale(self, saved: dict[str, Any]) -> None:
        """Move the results of other upstream weights to a separate folder; the stage starts from scratch."""
        kept = self.directory / f"upstream_{saved['settings']['upstream'][:12]}"
        idist.barrier()  # every rank has read
        if idist.get_rank() == 0:
            kept.mkdir(exist_ok=True)
            for name in ("last.pt", "best.pt"):
                if (self.directory / name).is_file():
                    (self.directory / name).replace(kept / name)
        idist.barrier()
        logger.warning(
            f"{self.directory}: {self.upstream} has changed since {saved['epoch']} epochs were trained with it: "
            f"trained again from the start, the old weights are kept in {kept}"
        )

    def _load(self, saved: dict[str, Any], engine: Engine) -> None:
        first_rates = {name: rates_of(part) for name, part in self.state.items() if isinstance(part, LRScheduler)}
        before, now = planned_epochs(saved), cast(int, engine.state.max_epochs)
        self.extended = list(saved.get("extended", []))
        self.seconds_before = float(saved.get("seconds", 0.0))
        self.network.load_state_dict(saved["network"])
        for name, part in self.state.items():
            if before == now or name not in first_rates:
                part.load_state_dict(saved[name])
        if before == now:
            return
        for name, rates in first_rates.items():
            continue_schedule(self.state[name], first_rates=rates, steps=saved[name]["last_epoch"])
        self.extended.append({"after": saved["epoch"], "from": before, "to": now})
        logger.info(
            f"{self.directory}: extended from {before} to {now} epochs; from epoch {saved['epoch'] + 1} on the "
            f"learning rates are those of a run of {now}, so the result may differ from that of a single run of {now}"
        )

    def _check(self, saved: dict[str, Any], engine: Engine, path: Path) -> None:
        same_length = planned_epochs(saved) == engine.state.max_epochs
        expected = {**self.settings, **(self.schedule if same_length else {})}
        found = {**saved["settings"], **saved.get("schedule", {})}
        unknown = sorted(expected.keys() - found.keys())
        if unknown:
            raise InputError(
                f"{path} was written by another version, which did not know {', '.join(unknown)}: remove it or name "
                "another --output_dir"
            )
        differing = sorted(
            _difference(key, found[key], value) for key, value in expected.items() if found[key] != value
        )
        if differing:
            raise InputError(
                f"{path} was trained with {'; '.join(differing)}: run with its settings, remove it, or name another "
                "--output_dir"
            )
        if saved["epoch"] > engine.state.max_epochs:
            raise InputError(
                f"{path} has seen {saved['epoch']} epochs, more than the {engine.state.max_epochs} asked for: ask for "
                f"{saved['epoch']} or more (--max_epochs), or name another --output_dir"
            )

    def save(self, engine: Engine) -> None:
        """Keep the state, and the weights where this epoch's validation is the best so far (rank 0; others wait)."""
        if idist.get_rank() == 0:
            self._save_best(engine)
            self._save_last(engine)
        idist.barrier()

    def _save_best(self, engine: Engine) -> None:
        if self._best(engine)[1] == engine.state.epoch or not (self.directory / "best.pt").is_file():
            self._write("best.pt", self.result.state_dict())

    def _save_last(self, engine: Engine) -> None:
        metric, epoch = self._best(engine)
        state = {name: part.state_dict() for name, part in self.state.items()}
        position = {"epoch": engine.state.epoch, "best_metric": float(metric), "best_epoch": int(epoch)}
        position["seconds"] = self.seconds_before + time.monotonic() - self.started
        length = {"max_epochs": engine.state.max_epochs, "extended": self.extended, "schedule": self.schedule}
        made_with = {"settings": self.settings, **length}
        self._write("last.pt", {"network": self.network.state_dict(), **made_with, **position, **state})

    def _best(self, engine: Engine) -> tuple[float, int]:
        """Metric and number of the best epoch; without a validation the current one is."""
        if self.evaluator is None:
            return float("nan"), engine.state.epoch
        state = cast(Any, self.evaluator.state)
        return state.best_metric, state.best_metric_epoch

    def _write(self, name: str, content: dict[str, Any]) -> None:
        save_tensors(self.directory / name, content)


def planned_epochs(saved: dict[str, Any]) -> int:
    """Planned number of epochs of the run that wrote a ``last.pt``."""
    return saved["max_epochs"] if "max_epochs" in saved else saved["settings"]["max_epochs"]


def training_record(last: str | Path) -> dict[str, Any]:
    """Record of a stage's training from its ``last.pt``, for a model's side file.

    Returns:
        ``epochs`` seen; ``extended``: for each change of length ``after`` (epochs), ``from`` and ``to``; ``minutes`` of
        training and validation; ``ended``, UTC; ``options``: the seed, the recipe, and fingerprints of the nodules that
        it trained and validated on.
    """
    saved = torch.load(last, map_location="cpu", weights_only=True, mmap=True)
    ended = datetime.fromtimestamp(Path(last).stat().st_mtime, tz=UTC)
    return {
        "epochs": saved["epoch"],
        "extended": saved.get("extended", []),
        "minutes": round(saved["seconds"] / 60, 1) if "seconds" in saved else None,
        "ended": ended.isoformat(timespec="seconds"),
        "options": {**saved["settings"], **saved.get("schedule", {})},
    }


def _difference(name: str, found: Any, expected: Any) -> str:
    """Difference of a setting; of nodules, which are compared by a hash, the options that may have chosen others."""
    if name in ("training", "validation"):
        return f"other {name} nodules (--fold, --dataset_dir, --min_readers and their like choose them)"
    return f"{name}={found!r}, not {expected!r}"
