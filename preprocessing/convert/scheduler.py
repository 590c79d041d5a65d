"""Convert scans on a Dask cluster of several machines, which see the DICOM files and the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lung_nodule.runtime.cluster import on_workers
from preprocessing.convert.scan_task import ScanTask, SkippedScan
from preprocessing.convert.workers import attempt


def on_cluster(tasks: Sequence[ScanTask], address: str) -> Iterator[SkippedScan | None]:
    """Convert scans on a Dask cluster, yielding each outcome as it comes.

    Args:
        tasks: tasks of the scans.
        address: address of the scheduler, ``tcp://host:port``.

    Raises:
        InputError: as :func:`lung_nodule.runtime.cluster.on_workers`.
    """
    tasks = [_with_absolute_paths(task) for task in tasks]
    folders = {folder for task in tasks for folder in _folders(task)}
    return on_workers(attempt, tasks, address, folders=folders, killed=lambda task, why: SkippedScan(task.scan, why))


def _with_absolute_paths(task: ScanTask) -> ScanTask:
    """Workers have other working directories."""
    return replace(task, out=task.out.absolute(), sources=task.sources.absolute())


def _folders(task: ScanTask) -> set[Path]:
    """The folders that a worker must see; missing ones are left out, as the scan itself will be refused."""
    needed = {task.out, *(file.parent for file in task.sources.files)}
    return needed | {folder for folder in task.sources.folders if folder.is_dir()}
