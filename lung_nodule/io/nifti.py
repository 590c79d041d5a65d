"""NIfTI files: reading with clear errors, writing atomically and with the same bytes for the same voxels."""

from __future__ import annotations

import gzip
import logging
import zlib
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import DTypeLike

from .atomic import atomic_path
from .errors import InputError
from .volume import Volume

logger = logging.getLogger(__name__)

COMPRESSION_LEVEL = 1  # deflate is the slowest step of a conversion; level 6 takes four times as long for 10 % less


def read_nifti(path: str | Path) -> Volume:
    """Read a ``.nii`` or ``.nii.gz`` file with its own dtype (float64 where the header scales the values).

    Raises:
        InputError: the file is missing, is no NIfTI file, is cut short, or has fewer than three axes.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such NIfTI file: {path}")
    try:
        image = nibabel.load(path)
        data = np.asanyarray(image.dataobj)
    except (ImageFileError, EOFError, OSError, ValueError, zlib.error) as error:
        raise InputError(f"cannot read {path} as NIfTI (cut short or of another format?): {error}") from error
    if isinstance(image, nibabel.Nifti1Pair) and not (image.header["sform_code"] or image.header["qform_code"]):
        logger.warning("%s says nothing about its place in the patient: world positions are a guess", path)
    try:
        return Volume(data, image.affine)
    except ValueError as error:
        raise InputError(f"cannot use {path}: {error}") from error


def write_nifti(path: str | Path, volume: Volume, dtype: DTypeLike | None = None) -> None:
    """Write a volume as NIfTI-1 (mm, sform and qform set), atomically.

    Args:
        path: ending in ``.nii`` or ``.nii.gz``.
        volume: the voxels and their affine.
        dtype: stored type, unscaled; the data's own by default (bool becomes uint8).

    Raises:
        InputError: the name has another ending.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"a NIfTI file's name ends in .nii or .nii.gz, got {path.name}")
    stored = np.dtype(dtype) if dtype is not None else volume.data.dtype
    stored = np.dtype(np.uint8) if stored.kind == "b" else stored
    image = nibabel.Nifti1Image(volume.data.astype(stored, copy=False), volume.affine, dtype=stored)
    image.set_sform(volume.affine, code="scanner")
    image.set_qform(volume.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if path.name.endswith(".gz"):
            # No file name and no time in the header: the same voxels give the same bytes.
            with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, file, mtime=0) as stream:
                image.to_stream(stream)
        else:
            image.to_stream(file)
