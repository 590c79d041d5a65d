"""One table from the rows that several ranks made of a dataset's nodules."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Any, cast

import ignite.distributed as idist


def gather_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all ranks in the dataset's order, each nodule once; the rows themselves where one process runs.

    Args:
        rows: rows of this rank, one per nodule with ``nodule_id``; rank r of n has seen items r, r + n, r + 2n, ...
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
