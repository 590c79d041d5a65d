"""Writes small CT series for the tests: any positions, any orientation, voxels whose values encode their position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

UID_ROOT = "1.2.826.0.1.3680043.8.498."
UNTILTED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass
class SeriesPlan:
    """What to write: one file per corner, in the order given, numbered from 1."""

    corners: Sequence[Sequence[float]]  # ImagePositionPatient of each slice
    stored: Callable[[int], np.ndarray]  # number of the slice -> int16 [row, column]
    orientation: Sequence[float] = UNTILTED
    pixel_spacing: Sequence[str | float] = (0.75, 0.5)  # between rows, between columns
    patient_id: str = "SYNTHETIC"
    study_uid: str = UID_ROOT + "1"
    series_uid: str = UID_ROOT + "2"
    intercept: float = -1024
    extra: dict[str, Any] = field(default_factory=dict)


def axial_corners(positions: Sequence[float]) -> list[tuple[float, float, float]]:
    """Corners of axial slices at the given z."""
    return [(-20.0, -30.0, float(z)) for z in positions]


def telling(shape: tuple[int, int]) -> Callable[[int], np.ndarray]:
    """Voxels whose value encodes slice, row and column."""
    rows, columns = np.indices(shape)

    def stored(number: int) -> np.ndarray:
        return ((number * 131 + rows * 17 + columns * 5) % 2000).astype(np.int16)

    return stored


def write_series(folder: Path, plan: SeriesPlan) -> list[Path]:
    """Write the series; returns the paths in the order of the plan's corners."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, corner in enumerate(plan.corners):
        path = folder / f"{number + 1:06d}.dcm"
        _dataset(plan, number, corner).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _dataset(plan: SeriesPlan, number: int, corner: Sequence[float]) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{UID_ROOT}3.{number + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    pixels = plan.stored(number)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
        plan.patient_id,
        plan.study_uid,
        plan.series_uid,
    )
    dataset.Modality, dataset.Manufacturer = "CT", "synthetic test series"
    dataset.InstanceNumber, dataset.SliceThickness = number + 1, 1.5
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = list(corner), list(plan.orientation)
    dataset.PixelSpacing = list(plan.pixel_spacing)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, plan.intercept
    for name, value in plan.extra.items():
        setattr(dataset, name, value)
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    return dataset
