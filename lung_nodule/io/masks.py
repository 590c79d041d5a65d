"""Masks of the nodules of one CT, on the CT's own grid."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from lung_nodule.errors import InputError
from lung_nodule.io.nifti import write_nifti
from lung_nodule.io.tables import read_table
from lung_nodule.io.voi import canonical_shape, paste
from lung_nodule.io.volume import Grid

logger = logging.getLogger(__name__)

TABLE, MASKS, LABELS, OCCLUSIONS = "nodules.csv", "masks", "nodules.nii.gz", "occlusion"
"""Names of the outputs of ``predict`` and of a bundle's inference on a user's CT."""


class ScanMasks:
    """Writes ``masks/<nodule_id>.nii.gz`` (uint8) per nodule and a map (uint16) of all nodules' labels.

    Args:
        out: folder to write to.
        grid: grid of the CT as it was read.
        labels: name of the label map.
    """

    def __init__(self, out: str | Path, grid: Grid, *, labels: str = LABELS) -> None:
        self.out = Path(out)
        self.grid = grid
        self.labels = labels
        self._map = np.zeros(canonical_shape(grid), dtype=np.uint16)

    def add(self, nodule_id: str, label: int, mask: np.ndarray, box: tuple[slice, slice, slice]) -> None:
        """Write a nodule's mask and enter it into the map, where an earlier nodule keeps its voxels.

        Args:
            nodule_id: id of the nodule, which names the file.
            label: label of the nodule in the map, from 1.
            mask: bool, of the box's shape.
            box: position of the mask in the canonical CT.
        """
        write_nifti(self.out / mask_path(nodule_id), paste(mask.astype(np.uint8), box, self.grid))
        region = self._map[box]
        if (region[mask] != 0).any():
            logger.warning("nodule %s overlaps an earlier one: the label map keeps the earlier", nodule_id)
        region[mask & (region == 0)] = label

    def write(self) -> None:
        """Write the map."""
        x, y, z = (slice(0, size) for size in self._map.shape)
        write_nifti(self.out / self.labels, paste(self._map, (x, y, z), self.grid))


def mask_path(nodule_id: str) -> str:
    """Path of a nodule's mask in the folder, as in ``nodules.csv``."""
    return f"{MASKS}/{nodule_id}.nii.gz"


def occlusion_path(nodule_id: str) -> str:
    """Path of a nodule's occlusion map in the folder, as in ``nodules.csv``."""
    return f"{OCCLUSIONS}/{nodule_id}.nii.gz"


def refuse_own_input(
    source: str | Path, out: str | Path, *, others: Sequence[str] = (), nodule_ids: Iterable[str] = ()
) -> None:
    """Refuse an output folder in which the results would take the place of the input or of files of something else.

    Args:
        source: path of an input, the nodules' or the CT's.
        out: the output folder.
        others: files written there besides the table, the masks and the label map.
        nodule_ids: ids of the nodules, which name the masks.

    Raises:
        InputError: the source is such a file, the folder's ``nodules.csv`` is not one of results (a dataset's, say), or
            such a file is there without a ``nodules.csv``.
    """
    out = Path(out)
    files = [out / name for name in (TABLE, LABELS, *others)]
    inside = Path(source).resolve().parent in ((out / folder).resolve() for folder in (MASKS, OCCLUSIONS))
    if inside or any(path.exists() and path.samefile(source) for path in files):
        raise InputError(f"{source} would be overwritten by the results: name another output folder than {out}")
    if (out / TABLE).is_file() and not _of_results(out / TABLE):
        raise InputError(f"{out / TABLE} holds no results and would be overwritten: name another output folder")
    written = [*files, *(out / path for name in nodule_ids for path in (mask_path(name), occlusion_path(name)))]
    foreign = None if (out / TABLE).is_file() else next((path for path in written if path.exists()), None)
    if foreign is not None:
        raise InputError(f"{foreign} is not of an earlier prediction and would be overwritten: name another folder")


def _of_results(table: Path) -> bool:
    """Whether ``predict`` or an inference wrote a table: its rows have labels, and name no patient as datasets do."""
    try:
        columns = set(pd.read_csv(table, nrows=0).columns)
    except ValueError:
        return False
    return {"nodule_id", "label"} <= columns and "patient_id" not in columns


def remove_earlier_masks(out: str | Path) -> None:
    """Remove the label map and what an earlier ``nodules.csv`` of the folder lists, and no other file."""
    out = Path(out)
    if (out / TABLE).is_file():
        (out / LABELS).unlink(missing_ok=True)
        for nodule_id in read_table(out / TABLE, required=["nodule_id"])["nodule_id"]:
            for path in (mask_path(nodule_id), occlusion_path(nodule_id)):
                (out / path).unlink(missing_ok=True)
