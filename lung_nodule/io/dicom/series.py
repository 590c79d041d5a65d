"""A CT series: its files before they are read, and its volume with remarks on irregularities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from lung_nodule.io.dicom.pixels import AIR_HU
from lung_nodule.io.dicom.slice_grid import SliceGrid, format_positions
from lung_nodule.io.volume import Volume


@dataclass(frozen=True, eq=False)
class SeriesFiles:
    """The files of one CT series, found but not read.

    Attributes:
        z_positions: float [files], the third coordinate of ImagePositionPatient in mm, in the order of ``paths``.
        headers: the files' attributes where they were kept, so that nothing is parsed twice; pixels stay on the disk.
        left_out: positions (third coordinate, mm) of files with this series' UID that the caller knows to be foreign
            to it and left out.
    """

    patient_id: str
    study_uid: str
    series_uid: str
    paths: tuple[Path, ...]
    z_positions: np.ndarray
    headers: tuple[pydicom.FileDataset, ...] = ()
    left_out: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Series:
    """A CT series as a volume.

    Attributes:
        volume: int16 HU, [x = column, y = row, z = grid position ascending along the slice normal], not reoriented.
        slice_positions: float [slices], the third coordinate of ImagePositionPatient in mm of every slice, in ascending
            order along the normal. They are the volume's own slices where the series is uniform.
        grid: grid of the volume's z positions, and the slices that they are made from.
        duplicates: positions (third coordinate, mm) that held the same slice more than once; one of each was kept.
        left_out: positions (third coordinate, mm) of slices that were left out as foreign to the series.
        slice_thickness_mm: declared slice thickness; NaN where none is declared.
        file_remarks: irregularities of the files and of the choice of slices: name -> number of files.
        paths: paths of the slices' files, in the order of ``slice_positions``.
        files: all of the series' files, those of duplicates that were left out included.
        frame_uid: UID of the frame of reference; empty where the files do not name one.
        study_date: ``2000-01-31``, as the first slice's StudyDate says; "" where it has none.
        instance_numbers: InstanceNumber of each slice, in the order of ``slice_positions``; None for a slice without
            one.
    """

    volume: Volume
    patient_id: str
    study_uid: str
    series_uid: str
    manufacturer: str
    slice_positions: np.ndarray
    grid: SliceGrid
    duplicates: tuple[float, ...]
    slice_thickness_mm: float
    left_out: tuple[float, ...] = ()
    file_remarks: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    frame_uid: str = ""
    study_date: str = ""
    instance_numbers: tuple[int | None, ...] = ()

    @property
    def z_positions(self) -> np.ndarray:
        """The third coordinate (mm) of the volume's z positions, float [z]."""
        index = np.zeros((self.volume.shape[2], 3))
        index[:, 2] = np.arange(self.volume.shape[2])
        return self.volume.to_world(index)[:, 2]

    @property
    def remarks(self) -> dict[str, str]:
        """Irregularities of the series that were handled: name -> the positions or files that it concerns."""
        found: dict[str, str] = {}
        if self.duplicates:
            found["duplicate_z"] = f"one of each kept of the equal slices at {format_positions(self.duplicates)}"
        if self.left_out:
            found["extra_slices"] = f"left out, as they are not among the series' own slices{_where(self.left_out)}"
        if len(self.grid.unused) or not (self.grid.share == 0).all():
            left_out = np.asarray(self.slice_positions)[self.grid.unused]
            made = self.z_positions[self.grid.interpolated]
            found["non_uniform_z"] = (
                f"{len(self.slice_positions)} slices laid on a grid of {self.grid.spacing:g} mm: "
                f"{len(self.grid.blended)} act through interpolation only, "
                f"{len(left_out)} not at all{_where(left_out)}, "
                f"{len(made)} positions interpolated{_where(made)}"
            )
        if not self.grid.measured.all():
            gap = self.z_positions[~self.grid.measured]
            found["unmeasured_gap"] = f"no slices, filled with {AIR_HU} HU{_where(gap)}"
        return {**found, **self.file_remarks}


def _where(positions: Sequence[float] | np.ndarray) -> str:
    return f" at {format_positions(positions)}" if len(positions) else ""
