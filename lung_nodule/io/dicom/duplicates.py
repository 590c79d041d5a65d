"""Slices at one position: comparison of their content and choice of one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from lung_nodule.errors import InputError
from lung_nodule.io.dicom.pixels import hounsfield, without_keeping
from lung_nodule.io.dicom.slice_grid import SAME_POSITION_MM, format_positions

logger = logging.getLogger(__name__)

DUPLICATE_RULES = ("refuse", "first", "last")
CHOICE = {"first": "lowest", "last": "highest"}


@dataclass(frozen=True, eq=False)
class Slices:
    """One file for each position.

    Attributes:
        order: int [slices], numbers of the files in ascending position.
        duplicates: third coordinates (mm) of positions that held equal slices more than once.
        differing: third coordinates (mm) of positions that held different slices, of which the rule took one.
    """

    order: np.ndarray
    duplicates: tuple[float, ...]
    differing: tuple[float, ...]


def one_slice_each(
    corners: np.ndarray,
    normal: np.ndarray,
    paths: Sequence[Path],
    datasets: Sequence[pydicom.FileDataset],
    *,
    rule: str,
) -> Slices:
    """Sort files by position and take one for each.

    Args:
        corners: float [files, 3], ImagePositionPatient.
        normal: float [3], normal of the slices.
        paths: paths of the files.
        datasets: attributes of the files, with the pixels still on the disk.
        rule: rule for different slices at one position: ``refuse`` them, or take the ``first`` or ``last`` by
            InstanceNumber.

    Raises:
        InputError: slices at one position differ and the rule is ``refuse``.
    """
    along = corners @ normal
    order = np.argsort(along, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(along[order]) >= SAME_POSITION_MM) + 1)
    taken, duplicates, differing = [], [], []
    for group in groups:
        if len(group) == 1:
            taken.append(group[0])
            continue
        hashes = _without_copies(group, paths, datasets)
        equal = len(set(hashes.values())) == 1
        if len(hashes) > 1:
            (duplicates if equal else differing).append(float(corners[group[0], 2]))
        taken.append(next(iter(hashes)) if equal else _chosen(hashes, datasets, rule))
    if differing and rule == "refuse":
        raise InputError(
            f"different slices at one position, at {format_positions(sorted(differing))}: nothing says which is right; "
            "remove the wrong ones (convert --duplicates first, or last, can take one by InstanceNumber)"
        )
    return Slices(np.array(taken), tuple(sorted(duplicates)), tuple(sorted(differing)))


def differing_remark(differing: Sequence[float], rule: str) -> dict[str, str]:
    """The remark ``differing_duplicates``, where it holds."""
    if not differing:
        return {}
    where = format_positions(differing)
    return {"differing_duplicates": f"of different slices the one of {CHOICE[rule]} InstanceNumber kept at {where}"}


def _without_copies(
    group: np.ndarray, paths: Sequence[Path], datasets: Sequence[pydicom.FileDataset]
) -> dict[int, bytes]:
    """Numbers of the files at one position with the hashes of their pixels, without further copies of one file.

    A copy has the same SOPInstanceUID, and equal pixels or, in a download that was cut short, unreadable ones.

    Raises:
        InputError: a file cannot be decoded, and none of its copies can.
    """
    uids = {int(at): str(datasets[at].get("SOPInstanceUID", "")) or str(paths[at]) for at in group}
    hashes: dict[tuple[str, bytes], int] = {}
    failed: dict[int, InputError] = {}
    for at, uid in uids.items():
        try:
            hashes.setdefault((uid, _pixel_hash(datasets[at], paths[at])), at)
        except InputError as error:
            failed[at] = error
    for at, error in failed.items():
        if uids[at] not in {uid for uid, _ in hashes}:
            raise error
        logger.warning("left out a damaged copy of a slice: %s", error)
    return {at: pixels for (_, pixels), at in hashes.items()}


def _chosen(group: Iterable[int], datasets: Sequence[pydicom.FileDataset], rule: str) -> int:
    """The file of lowest or highest InstanceNumber, the order of the files deciding where numbers are equal."""
    numbered = sorted((instance_number(datasets[at]) or 0, int(at)) for at in group)
    return numbered[-1 if rule == "last" else 0][1]


def instance_number(dataset: pydicom.Dataset) -> int | None:
    """InstanceNumber; None where it is missing or no number."""
    try:
        return int(dataset.get("InstanceNumber"))
    except (TypeError, ValueError):
        return None


def _pixel_hash(dataset: pydicom.FileDataset, path: Path) -> bytes:
    return hashlib.sha256(hounsfield(without_keeping(dataset), path).tobytes()).digest()
