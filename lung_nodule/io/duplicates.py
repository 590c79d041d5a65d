"""Slices at one position: comparison of their content and choice of one."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from lung_nodule.errors import InputError
from lung_nodule.io.pixels import hounsfield
from lung_nodule.io.slice_grid import SAME_POSITION_MM, format_positions

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
        several = len(group) > 1
        equal = several and len({_pixel_hash(datasets[at], paths[at]) for at in group}) == 1
        if several:
            (duplicates if equal else differing).append(float(corners[group[0], 2]))
        taken.append(group[0] if not several or equal else _chosen(group, datasets, rule))
    if differing and rule == "refuse":
        raise InputError(
            f"different slices at one position, at {format_positions(sorted(differing))}: nothing says which is right; "
            "remove the wrong ones, or have the first or last taken by InstanceNumber (convert --duplicates first)"
        )
    return Slices(np.array(taken), tuple(sorted(duplicates)), tuple(sorted(differing)))


def differing_remark(differing: Sequence[float], rule: str) -> dict[str, str]:
    """The remark ``differing_duplicates``, where it holds."""
    if not differing:
        return {}
    where = format_positions(differing)
    return {"differing_duplicates": f"of different slices the one of {CHOICE[rule]} InstanceNumber kept at {where}"}


def _chosen(group: np.ndarray, datasets: Sequence[pydicom.FileDataset], rule: str) -> int:
    """The file of lowest or highest InstanceNumber, the order of the files deciding where numbers are equal."""
    numbered = sorted((int(datasets[at].get("InstanceNumber") or 0), int(at)) for at in group)
    return numbered[-1 if rule == "last" else 0][1]


def _pixel_hash(dataset: pydicom.FileDataset, path: Path) -> bytes:
    return hashlib.sha256(hounsfield(copy.copy(dataset), path).tobytes()).digest()
