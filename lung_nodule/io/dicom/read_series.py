"""DICOM CT series as volumes in HU: the one reader of DICOM geometry."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from lung_nodule.errors import InputError
from lung_nodule.io.dicom.duplicates import differing_remark, instance_number, one_slice_each
from lung_nodule.io.dicom.file_remarks import file_remarks
from lung_nodule.io.dicom.find import DEFER_BYTES, NOT_READABLE, series_under
from lung_nodule.io.dicom.pixels import AIR_HU, hounsfield_and_padding, without_keeping
from lung_nodule.io.dicom.quiet import quiet
from lung_nodule.io.dicom.series import Series, SeriesFiles
from lung_nodule.io.dicom.slice_grid import slice_grid
from lung_nodule.io.volume import Volume
from pydicom.errors import InvalidDicomError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ALIKE = {"Rows": 0, "Columns": 0, "PixelSpacing": 1e-4, "ImageOrientationPatient": 1e-3}
"""Attributes that the slices of a series have in common, and the tolerance of their numbers."""
FEW = 0.1
"""Share of the slices up to which shifted ones are single faults, not a tilt."""
ROUNDED_DIRECTION = 0.02
"""Tolerance of the products of the image's two directions against 0 and 1; two decimals reach 0.014."""


def read_series(source: str | Path | SeriesFiles, *, complete: bool = False, duplicates: str = "refuse") -> Series:
    """Read one CT series.

    The affine comes from ImagePositionPatient and ImageOrientationPatient (LPS, turned into RAS) and the true distance
    of the slices, never from SliceThickness. Each slice's own rescale is applied; padding becomes -1024 HU. Of equal
    slices at one position one is kept; different ones are refused unless ``duplicates`` says which to take. Slices
    that are not evenly spaced are laid on a uniform grid by their true positions, and a gap too wide to interpolate
    across is filled with -1024 HU. ``Series.remarks`` says so.

    Args:
        source: a folder with exactly one CT series, or files found by ``find_series``.
        complete: True where the caller knows that no slice is missing; a gap then belongs to the series.
        duplicates: rule for different slices at one position: ``refuse``, or the ``first`` or ``last`` by
            InstanceNumber.

    Raises:
        InputError: no or several series, missing slices, different slices at one position, slices that do not fit
            together, or files that cannot be read; the message names the positions or the file.

    Example:
        >>> import tempfile
        >>> from pydicom import examples
        >>> from lung_nodule.io import read_series
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(3):
        ...         ct = examples.ct
        ...         ct.SOPInstanceUID = ct.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        ...         ct.ImagePositionPatient[2] = 2.5 * number
        ...         ct.save_as(f"{folder}/{number}.dcm")
        ...     series = read_series(folder)
        >>> series.volume.shape, series.volume.data.dtype, float(series.volume.spacing[2])
        ((128, 128, 3), dtype('int16'), 2.5)
    """
    files = source if isinstance(source, SeriesFiles) else only_series(Path(source))
    with quiet():  # odd number formats (006.054690e-01) are read as what they say
        datasets = list(files.headers) or [_read_file(path) for path in files.paths]
        try:
            return _stack(files, datasets, complete, duplicates)
        except InputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"series {files.series_uid} lacks a usable DICOM attribute: {error}") from error


def only_series(folder: Path, *, series_uid: str | None = None) -> SeriesFiles:
    """The one CT series under a folder, or the one that is named.

    Raises:
        InputError: there is no series, there are several and none is named, the named one is not there, or a file
            that may belong to it cannot be read.
    """
    found, unreadable = series_under(folder, keep_headers=True)
    broken = next((f"{path} cannot be read ({why})" for path, why in unreadable.items()), None)
    if not found and broken:
        raise InputError(f"no DICOM CT image under {folder}, and {broken}: make it readable or download it again")
    if not found:
        raise InputError(f"no DICOM CT image under {folder}{_instead(folder)}: give the folder of a CT series")
    listed = ", ".join(f"{series.series_uid} ({len(series.paths)} files)" for series in found)
    chosen = [series for series in found if series_uid is None or series.series_uid == str(series_uid)]
    if not chosen:
        raise InputError(f"no CT series {series_uid} under {folder}; it holds {listed}")
    if len(chosen) > 1:
        raise InputError(f"{len(found)} CT series under {folder}: name one with --series_uid: {listed}")
    broken = next(
        (f"{path} cannot be read ({why})" for path, why in unreadable.items() if _may_be_of(path, chosen[0])), None
    )
    if broken:
        raise InputError(f"{broken} and may be one of the slices: make it readable, download it again or remove it")
    return chosen[0]


def _may_be_of(path: Path, series: SeriesFiles) -> bool:
    """Whether a file that is no usable slice names this series, or none that can be read."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
    except NOT_READABLE:
        return True
    return str(header.get("SeriesInstanceUID") or series.series_uid) == series.series_uid


def _instead(folder: Path) -> str:
    """The kinds of DICOM objects in a folder without CT images."""
    kinds = set()
    for path in (path for path in sorted(folder.rglob("*")) if path.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            kinds.add(header.SOPClassUID.name)
        except NOT_READABLE:
            continue
    return f" (it holds {', '.join(sorted(kinds))})" if kinds else ""


def _read_file(path: Path) -> pydicom.FileDataset:
    try:
        return pydicom.dcmread(path, defer_size=DEFER_BYTES)
    except (InvalidDicomError, EOFError, OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; download it again") from error


def _stack(files: SeriesFiles, datasets: list[pydicom.FileDataset], complete: bool, rule: str) -> Series:
    first = datasets[0]
    rotation = _check_alike(files, datasets)
    corners = np.array([dataset.ImagePositionPatient for dataset in datasets], dtype=np.float64)
    slices = one_slice_each(corners, rotation[2], files.paths, datasets, rule=rule)
    corners = corners[slices.order]
    _check_stack(corners, rotation, first, [files.paths[at] for at in slices.order])
    grid = slice_grid(corners @ rotation[2], complete=complete)

    padded: dict[int, int] = {}
    blank: list[int] = []

    def take(slice_number: int) -> np.ndarray:
        at = slices.order[slice_number]
        # A copy takes the pixels in, so that no more than one slice's stay in memory.
        hu, padded[slice_number] = hounsfield_and_padding(without_keeping(datasets[at]), files.paths[at])
        if hu.min() == hu.max():
            blank.append(slice_number)
        return hu

    data = grid.resample(take, empty=AIR_HU)
    row_mm, column_mm = (float(value) for value in first.PixelSpacing)
    corner = corners[0] + (grid.positions[0] - corners[0] @ rotation[2]) * rotation[2]
    affine = np.eye(4)
    affine[:3, :] = np.c_[rotation[0] * column_mm, rotation[1] * row_mm, grid.spacing * rotation[2], corner]
    return Series(
        volume=Volume(data.transpose(2, 1, 0), LPS_TO_RAS @ affine),
        patient_id=files.patient_id,
        study_uid=files.study_uid,
        series_uid=files.series_uid,
        manufacturer=str(first.get("Manufacturer", "")),
        slice_positions=corners[:, 2].copy(),
        grid=grid,
        duplicates=slices.duplicates,
        left_out=files.left_out,
        slice_thickness_mm=_thickness(first),
        file_remarks=differing_remark(slices.differing, rule) | file_remarks(datasets, padded, blank),
        paths=tuple(files.paths[at] for at in slices.order),
        files=files.paths,
        frame_uid=str(first.get("FrameOfReferenceUID", "")),
        study_date=_date(str(first.get("StudyDate") or "")),
        instance_numbers=tuple(instance_number(datasets[at]) for at in slices.order),
    )


def _date(text: str) -> str:
    """DICOM's ``20000131`` as ``2000-01-31``; any other text as it is."""
    digits = text.strip().replace(".", "")
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}" if len(digits) == 8 and digits.isdigit() else text.strip()


def _thickness(dataset: pydicom.FileDataset) -> float:
    """SliceThickness in mm; NaN where it is missing or no number."""
    try:
        return float(dataset.get("SliceThickness") or "nan")
    except (TypeError, ValueError):
        return math.nan


def _check_alike(files: SeriesFiles, datasets: list[pydicom.FileDataset]) -> np.ndarray:
    """Directions [3, 3] (LPS unit vectors of the column index, the row index and the slice normal) of all slices."""
    _require_tags(files, datasets)
    kinds = Counter(map(_kind, datasets))
    most = kinds.most_common(1)[0][0]  # a foreign file may be the first along the normal
    first = next(dataset for dataset in datasets if _kind(dataset) == most)
    for path, dataset in zip(files.paths, datasets, strict=True):
        for tag, tolerance in ALIKE.items():
            value, expected = (np.array(dataset[tag].value, dtype=np.float64) for dataset in (dataset, first))
            if np.shape(value) != np.shape(expected) or np.abs(value - expected).max() > tolerance:
                found, usual = dataset[tag].value, first[tag].value
                raise InputError(f"{path} does not fit its series: {tag} {found}, elsewhere {usual}; remove it")
    try:
        return _rotation(np.array(first.ImageOrientationPatient, dtype=np.float64).reshape(2, 3))
    except ValueError as error:
        raise InputError(f"{files.paths[0]}: {error}") from None


def _rotation(directions: np.ndarray) -> np.ndarray:
    """The two directions [2, 3] at right angles and of length 1, as rounded ones hardly are, and their normal.

    Raises:
        ValueError: they are further from that than rounding explains.
    """
    if np.abs(directions @ directions.T - np.eye(2)).max() > ROUNDED_DIRECTION:
        shown = ", ".join(f"{value:g}" for value in directions.ravel())
        raise ValueError(
            f"ImageOrientationPatient ({shown}) is not a pair of unit vectors at right angles: correct it, or exclude "
            "the series"
        )
    along_column = directions[0] / np.linalg.norm(directions[0])
    along_row = directions[1] - (directions[1] @ along_column) * along_column
    along_row /= np.linalg.norm(along_row)
    return np.stack([along_column, along_row, np.cross(along_column, along_row)])


def _require_tags(files: SeriesFiles, datasets: Sequence[pydicom.FileDataset]) -> None:
    """Raise InputError where a slice lacks an attribute that places its voxels."""
    for path, dataset in zip(files.paths, datasets, strict=True):
        for tag in ALIKE:
            if tag not in dataset:
                raise InputError(f"{path} lacks the attribute {tag} (cut short?): download it again")


def _kind(dataset: pydicom.FileDataset) -> tuple[object, ...]:
    """Attributes that all slices of a series have in common, rounded."""
    values = (np.array(dataset[tag].value, dtype=np.float64).round(2).ravel().tolist() for tag in ALIKE)
    return tuple(tuple(value) for value in values)


def _check_stack(corners: np.ndarray, rotation: np.ndarray, first: pydicom.FileDataset, paths: Sequence[Path]) -> None:
    """Slices [n] must lie straight above each other along the normal, as an affine cannot express gantry tilt."""
    across = corners @ rotation[:2].T
    offsets = np.abs(across - np.median(across, axis=0)).max(axis=1)
    shifted = np.flatnonzero(offsets > 0.5 * min(float(value) for value in first.PixelSpacing))
    if not len(shifted):
        return
    if len(shifted) <= FEW * len(paths):
        raise InputError(
            f"{paths[shifted[0]]} is shifted against the other slices by {offsets[shifted[0]]:.2f} mm"
            f"{f', and so are {len(shifted) - 1} more' if len(shifted) > 1 else ''}: remove or correct it"
        )
    raise InputError(
        f"slices are shifted against each other by up to {np.ptp(across, axis=0).max():.2f} mm: gantry-tilted series "
        "are not supported; resample the series or exclude it"
    )
