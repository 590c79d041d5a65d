"""Numbers of a CT's slices in its source: InstanceNumber in a DICOM series, index in a NIfTI file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from lung_nodule.io.ct import Ct
from lung_nodule.io.dicom.series import Series
from lung_nodule.io.volume import LPS
from nibabel import orientations

AXIAL = 2


@dataclass(frozen=True, eq=False)
class SliceNumbers:
    """Numbers of the slices of a canonical CT (``Volume.canonical()``).

    Attributes:
        instances: True where they are the InstanceNumbers of a DICOM series, which only the axis has along which its
            slices follow each other; False where they are indices of the file's voxels, counted from 1.
        along: slice numbers by axis of the canonical CT, one for each index; None where nothing was measured or the
            slice has no number.
        interpolated: indices along the DICOM series' axis that lie between two of its slices; they have the number
            of the nearer one.

    Example:
        >>> from lung_nodule.io import SliceNumbers
        >>> numbers = SliceNumbers(True, {2: (30, 29, None, 28)}, frozenset({3}))
        >>> numbers.in_words(2, 0), numbers.in_words(2, 3), numbers.in_words(2, 2), numbers.in_words(0, 1)
        ('image 30', 'near image 28', '', '')
    """

    instances: bool
    along: Mapping[int, tuple[int | None, ...]]
    interpolated: frozenset[int] = frozenset()

    @property
    def axis(self) -> int:
        """Axis of a nodule's slice number: that of the series' slices; for a NIfTI file the axial one."""
        return AXIAL if AXIAL in self.along else next(iter(self.along))

    def at(self, axis: int, index: float) -> int | None:
        """Number of the slice nearest to an index; None for a slice without one."""
        numbers = self.along.get(axis, (None,))
        return numbers[int(np.clip(np.rint(index), 0, len(numbers) - 1))]

    def in_words(self, axis: int, index: int) -> str:
        """``image 57``, ``near image 57`` where it is interpolated, ``index 57`` of NIfTI, "" without a number."""
        number = self.at(axis, index)
        if number is None:
            return ""
        near = "near " if index in self.interpolated else ""
        return f"{near}{'image' if self.instances else 'index'} {number}"


def slice_numbers(ct: Ct) -> SliceNumbers:
    """The numbers of a CT's slices."""
    shape, (to, flips) = ct.volume.shape, _to_canonical(ct.volume.affine)
    if ct.series is None:
        return SliceNumbers(False, {to[k]: tuple(range(1, shape[k] + 1)[:: flips[k]]) for k in range(3)})
    numbers = _of_grid(ct.series)[:: flips[2]]
    interpolated = np.flatnonzero(ct.series.grid.interpolated[:: flips[2]])
    return SliceNumbers(True, {to[2]: numbers}, frozenset(interpolated.tolist()))


def _of_grid(series: Series) -> tuple[int | None, ...]:
    """By position of the volume's grid; no number at all where the series' reader kept none."""
    known = dict(enumerate(series.instance_numbers))
    return tuple(known.get(nearest) for nearest in series.grid.nearest.tolist())


def _to_canonical(affine: np.ndarray) -> tuple[list[int], list[int]]:
    """The canonical axis of each of an array's axes, and its direction there, 1 or -1."""
    wanted = orientations.axcodes2ornt(tuple(LPS))
    change = orientations.ornt_transform(orientations.io_orientation(affine), wanted).astype(int)
    return change[:, 0].tolist(), change[:, 1].tolist()
