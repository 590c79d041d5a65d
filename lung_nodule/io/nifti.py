"""NIfTI files: reading with clear errors, writing atomically and with the same bytes for the same voxels."""

from __future__ import annotations

import io
import logging
import os
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import nibabel
import numpy as np
from isal import igzip_threaded
from lung_nodule.errors import InputError
from lung_nodule.io.atomic import atomic_path
from lung_nodule.io.volume import Volume
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import DTypeLike

logger = logging.getLogger(__name__)

# Deflate is the slowest step of a conversion. ISA-L's writes the same format as zlib: on a chest CT its level 2 takes a
# quarter of the time of zlib's level 1 for 1 % more bytes.
COMPRESSION_LEVEL = 2
BLOCK_BYTES = 1 << 22  # deflated by one thread
MOST_THREADS = 4
SINGLE_FILE_OFFSET = 352  # a NIfTI-1 header and four bytes that say "no extension"


def read_nifti(path: str | Path, *, placed: bool = False) -> Volume:
    """Read a ``.nii`` or ``.nii.gz`` file with its own dtype (float64 where the header scales the values).

    Args:
        path: the file.
        placed: whether the header must say where the voxels lie; otherwise a file without sform and qform is read with
            a warning, at the place that nibabel guesses, which other readers do not share.

    Raises:
        InputError: the file is missing, is not a NIfTI file, is cut short, has fewer than three axes, voxels that are
            not numbers, or, if ``placed``, neither sform nor qform.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such NIfTI file: {path}")
    try:
        image = nibabel.load(path)
        if not isinstance(image, SpatialImage):
            raise ImageFileError("it holds no voxels")
        data = np.asanyarray(image.dataobj)
    except (HeaderDataError, ImageFileError, EOFError, OSError, OverflowError, ValueError, zlib.error) as error:
        raise InputError(f"cannot read {path} as NIfTI (cut short or of another format?): {error}") from error
    if isinstance(image, nibabel.Nifti1Pair) and not (image.header["sform_code"] or image.header["qform_code"]):
        if placed:
            raise InputError(f"{path} has neither sform nor qform: set one, so that positions in the patient are known")
        logger.warning("%s has neither sform nor qform: world positions are a guess", path)
    if data.dtype.kind not in "biuf":
        raise InputError(f"the voxels of {path} are not numbers ({data.dtype}): give one value per voxel")
    try:
        return Volume(data, np.asarray(image.affine))
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
    stored = np.dtype(np.uint8) if stored.kind == "b" else stored.newbyteorder("=")
    header = _header(volume, stored)
    # Voxels in Fortran order: no copy where the volume lies in memory as it does in the file.
    voxels = np.ascontiguousarray(volume.data.T, dtype=stored).data.cast("B")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if path.name.endswith(".gz"):
            _write_gzip(file, header, voxels)
        else:
            file.write(header)
            file.write(voxels)


def _header(volume: Volume, stored: np.dtype) -> bytes:
    """All bytes before the voxels of a single-file NIfTI-1."""
    empty = np.broadcast_to(np.zeros((), stored), volume.data.shape)
    image = nibabel.Nifti1Image(empty, volume.affine, dtype=stored)
    image.set_sform(volume.affine, code="scanner")
    image.set_qform(volume.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(1, 0)
    image.header.set_data_offset(SINGLE_FILE_OFFSET)
    written = io.BytesIO()
    image.header.write_to(written)
    return written.getvalue().ljust(SINGLE_FILE_OFFSET, b"\0")


def _write_gzip(file: BinaryIO, header: bytes, voxels: memoryview) -> None:
    """One gzip stream without file name and time: the same voxels give the same bytes, however many threads write."""
    blocks = len(voxels) // BLOCK_BYTES + 1
    threads = min(MOST_THREADS, os.cpu_count() or 1, blocks)
    opened = igzip_threaded.open(file, "wb", COMPRESSION_LEVEL, threads=threads, block_size=BLOCK_BYTES)
    with cast(BinaryIO, opened) as stream:
        stream.write(header)
        stream.write(voxels)
