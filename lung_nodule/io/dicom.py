"""DICOM CT series as volumes in HU: the one reader of DICOM geometry."""

from __future__ import annotations

import logging
import os
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import CTImageStorage
from tqdm import tqdm

from .errors import InputError
from .slices import check_uniform
from .volume import Volume

logger = logging.getLogger(__name__)

AIR_HU = -1024
NO_TISSUE_HU = -2000  # LIDC-IDRI fills the corners with a stored -2000, declared or not
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
HEADER_TAGS = ["SOPClassUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "ImagePositionPatient"]


@dataclass(frozen=True, eq=False)
class SeriesFiles:
    """The files of one CT series, found but not read.

    Attributes:
        z_positions: float [files], the third coordinate of ImagePositionPatient in mm, in the order of ``paths``.
    """

    patient_id: str
    study_uid: str
    series_uid: str
    paths: tuple[Path, ...]
    z_positions: np.ndarray


@dataclass(frozen=True, eq=False)
class Series:
    """A CT series as a volume.

    Attributes:
        volume: int16 HU, [x = column, y = row, z = slice ascending along the slice normal], not reoriented.
        slice_positions: float [slices], the third coordinate of ImagePositionPatient in mm, in the order of the array.
        slice_thickness_mm: as declared; NaN where it is not.
    """

    volume: Volume
    patient_id: str
    study_uid: str
    series_uid: str
    manufacturer: str
    slice_positions: np.ndarray
    slice_thickness_mm: float


def find_series(root: str | Path) -> list[SeriesFiles]:
    """CT series under a folder, at any depth, ordered by patient and SeriesInstanceUID.

    Files that are no DICOM (XML, licences) and DICOM objects other than CT images are passed over.

    Raises:
        InputError: the folder does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"no such folder: {root}")
    paths = sorted(Path(folder) / name for folder, _, names in os.walk(root, followlinks=True) for name in names)
    groups: dict[tuple[str, str, str], list[tuple[Path, float]]] = defaultdict(list)
    for path in tqdm(paths, desc="DICOM headers", unit="file", delay=5, disable=None):
        header = _read_header(path)
        if header is not None:
            key = (str(header.get("PatientID", "")), str(header.StudyInstanceUID), str(header.SeriesInstanceUID))
            groups[key].append((path, float(header.ImagePositionPatient[2])))
    return [_files_of(key, found) for key, found in sorted(groups.items())]


def _files_of(key: tuple[str, str, str], found: list[tuple[Path, float]]) -> SeriesFiles:
    paths, z_positions = zip(*found, strict=True)
    return SeriesFiles(*(part.strip() for part in key), paths=paths, z_positions=np.array(z_positions))


def _read_header(path: Path) -> pydicom.Dataset | None:
    """The few tags that sort files into series; None where the file is no readable CT image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=HEADER_TAGS)
            if header.get("SOPClassUID") != CTImageStorage:
                return None
            header.StudyInstanceUID, header.SeriesInstanceUID, header.ImagePositionPatient[2]
            return header
    except (InvalidDicomError, EOFError, AttributeError, KeyError, ValueError, TypeError, IndexError, OSError):
        if path.suffix.lower() == ".dcm":
            logger.warning("passed over %s: it cannot be read as a DICOM CT image", path)
        return None


def read_series(source: str | Path | SeriesFiles) -> Series:
    """Read one CT series.

    The affine comes from ImagePositionPatient and ImageOrientationPatient (LPS, turned into RAS) and the true distance
    of the slices, never from SliceThickness. Each slice's own rescale is applied; padding becomes -1024 HU.

    Args:
        source: a folder with exactly one CT series, or files found by ``find_series``.

    Raises:
        InputError: no or several series, missing, duplicate or unevenly spaced slices, slices that do not fit
            together, or pixels that cannot be read; the message names the positions or the file.
    """
    files = source if isinstance(source, SeriesFiles) else _only_series(Path(source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd number formats (006.054690e-01) are read as what they say
        datasets = [_read_file(path) for path in files.paths]
        try:
            return _stack(files, datasets)
        except InputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"series {files.series_uid} lacks a usable DICOM attribute: {error}") from error


def _only_series(folder: Path) -> SeriesFiles:
    found = find_series(folder)
    if not found:
        raise InputError(f"no DICOM CT image under {folder}: give the folder of a CT series")
    if len(found) > 1:
        listed = ", ".join(f"{series.series_uid} ({len(series.paths)} files)" for series in found)
        raise InputError(f"{len(found)} CT series under {folder}: give the folder of one of them: {listed}")
    return found[0]


def _read_file(path: Path) -> pydicom.FileDataset:
    try:
        return pydicom.dcmread(path)
    except (InvalidDicomError, EOFError, OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; download it again") from error


def _stack(files: SeriesFiles, datasets: list[pydicom.FileDataset]) -> Series:
    first = datasets[0]
    rotation = _check_alike(files, datasets)
    corners = np.array([dataset.ImagePositionPatient for dataset in datasets], dtype=np.float64)
    order = np.argsort(corners @ rotation[2], kind="stable")
    corners = corners[order]
    spacing = check_uniform(corners @ rotation[2])
    step = _slice_step(corners, rotation, spacing, first)

    data = np.empty((len(datasets), first.Rows, first.Columns), dtype=np.int16)
    for k, at in enumerate(order):
        data[k] = _hounsfield(datasets[at], files.paths[at])
        datasets[at] = None  # its bytes are not needed again

    row_mm, column_mm = (float(value) for value in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :] = np.c_[rotation[0] * column_mm, rotation[1] * row_mm, step, corners[0]]
    return Series(
        volume=Volume(data.transpose(2, 1, 0), LPS_TO_RAS @ affine),
        patient_id=files.patient_id,
        study_uid=files.study_uid,
        series_uid=files.series_uid,
        manufacturer=str(first.get("Manufacturer", "")),
        slice_positions=corners[:, 2].copy(),
        slice_thickness_mm=float(first.get("SliceThickness") or "nan"),
    )


def _check_alike(files: SeriesFiles, datasets: list[pydicom.FileDataset]) -> np.ndarray:
    """Directions [3, 3] (LPS unit vectors of the column index, the row index and the slice normal) of all slices."""
    first = datasets[0]
    for path, dataset in zip(files.paths, datasets, strict=True):
        for tag, tolerance in (("Rows", 0), ("Columns", 0), ("PixelSpacing", 1e-4), ("ImageOrientationPatient", 1e-3)):
            value, expected = (np.array(dataset[tag].value, dtype=np.float64) for dataset in (dataset, first))
            if np.shape(value) != np.shape(expected) or np.abs(value - expected).max() > tolerance:
                raise InputError(
                    f"{path} does not fit its series: {tag} {value.tolist()}, elsewhere {expected.tolist()}; remove it"
                )
    along_column, along_row = np.array(first.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    return np.stack([along_column, along_row, np.cross(along_column, along_row)])


def _slice_step(corners: np.ndarray, rotation: np.ndarray, spacing: float, first: pydicom.FileDataset) -> np.ndarray:
    """Vector [3] from a slice to the next; it must run along the normal, as no gantry tilt can be told by an affine."""
    expected = corners[0] + np.arange(len(corners))[:, None] * spacing * rotation[2]
    drift = np.abs(corners - expected).max()
    if drift > 0.5 * min(float(value) for value in first.PixelSpacing):
        raise InputError(f"slices are shifted against each other by up to {drift:.2f} mm (gantry tilt?): leave it out")
    return spacing * rotation[2]


def _hounsfield(dataset: pydicom.FileDataset, path: Path) -> np.ndarray:
    """One slice [row, column] in HU, int16, padding set to air."""
    try:
        stored = dataset.pixel_array
    except Exception as error:  # each of pydicom's decoders raises its own kind
        reason = " ".join(str(error).split())
        raise InputError(f"cannot read the pixels of {path}: {reason}; download it again or decompress it") from error
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    hu = stored.astype(np.float32 if slope % 1 or intercept % 1 else np.int32) * _plain(slope) + _plain(intercept)
    padding = hu <= NO_TISSUE_HU
    for value in _declared_padding(dataset):
        if not -1000 <= value * slope + intercept <= 3071:  # a "padding value" that is tissue is a broken header
            padding |= stored == value
    hu[padding] = AIR_HU
    return np.rint(hu).clip(-32768, 32767).astype(np.int16)


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _declared_padding(dataset: pydicom.FileDataset) -> set[int]:
    """PixelPaddingValue, also where it is written unsigned (63536) beside signed pixels (-2000)."""
    if dataset.get("PixelPaddingValue") is None:
        return set()
    value = int(dataset.PixelPaddingValue)
    return {value, value - 2**16} if dataset.PixelRepresentation == 1 and value >= 2**15 else {value}
