"""An Ignite handler that keeps a row per iteration and gives those of all ranks to its subclass at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import chain, zip_longest
from typing import Any, cast

import ignite.distributed as idist
from ignite.engine import Engine, Events
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


def gather_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all ranks in the dataset's order, each nodule once; the rows themselves where one process runs.

    Args:
        rows: of this rank, one per nodule with ``nodule_id``; rank r of n has seen items r, r + n, r + 2n, ...
    """
    if idist.get_world_size() == 1:
        return rows
    return interleave(cast(list[list[dict[str, Any]]], idist.all_gather(rows)))


def interleave(rows_of_ranks: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """First rows of all ranks, then second ones, ...; a nodule that a rank repeated is kept once."""
    once: dict[str, dict[str, Any]] = {}
    for row in chain.from_iterable(zip_longest(*rows_of_ranks)):
        if row is not None:
            once.setdefault(row["nodule_id"], row)
    return list(once.values())
