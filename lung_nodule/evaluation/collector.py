"""An Ignite handler that keeps a row per iteration and gives those of all ranks to its subclass at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from lung_nodule.data import gather_rows
from lung_nodule.evaluation.rows import nodule_of


class RowCollector(ABC):
    """Base of the handlers that write a table: a subclass defines a row and what is done with the rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Called by the evaluator."""
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.COMPLETED, self.complete)

    def collect(self, engine: Engine) -> None:
        """Keep the row of one iteration's nodule."""
        self.rows.append(self.row(nodule_of(engine)))

    def complete(self, engine: Engine) -> None:
        """Write the results of all ranks' rows on rank 0; the others wait."""
        rows = gather_rows(self.rows)
        if idist.get_rank() == 0:
            self.write(rows)
        idist.barrier()

    @abstractmethod
    def row(self, nodule: Mapping[str, Any]) -> dict[str, Any]:
        """A nodule's row; ``nodule`` is its item of the dataset with the network's outputs, on the CPU."""

    @abstractmethod
    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write the files."""
