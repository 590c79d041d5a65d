"""NIfTI files: reading with clear errors, writing atomically and with the same bytes for the same voxels."""

from __future__ import annotations

import io
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
from isal import isal_zlib
from lung_nodule.errors import InputError
from lung_nodule.io.atomic import atomic_path
from lung_nodule.io.volume import Volume
from nibabel.filebasedimages import ImageFileError
from numpy.typing import DTypeLike

logger = logging.getLogger(__name__)

# Deflate is the slowest step of a conversion. ISA-L's writes the same format as zlib: on a chest CT its level 2 takes a
# quarter of the time of zlib's level 1 for 1 % more bytes.
COMPRESSION_LEVEL = 2
RAW_DEFLATE = -15  # window bits; negative for neither header nor checksum
GZIP_HEADER = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF])  # no file name, no time, no operating system
CHUNK_BYTES = 1 << 22
MOST_THREADS = 4
SINGLE_FILE_OFFSET = 352  # a NIfTI-1 header and four bytes that say "no extension"


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
    stored = np.dtype(np.uint8) if stored.kind == "b" else stored.newbyteorder("=")
    header = _header(volume, stored)
    # Voxels in Fortran order: no copy where the volume lies in memory as it does in the file.
    voxels = memoryview(np.ascontiguousarray(volume.data.T, dtype=stored)).cast("B")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        parts = (header, *(voxels[at : at + CHUNK_BYTES] for at in range(0, len(voxels), CHUNK_BYTES)))
        for part in _gzipped(parts) if path.name.endswith(".gz") else parts:
            file.write(part)


def _header(volume: Volume, stored: np.dtype) -> bytes:
    """All that stands before the voxels of a single-file NIfTI-1."""
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


def _gzipped(parts: Sequence[bytes | memoryview]) -> Iterator[bytes]:
    """The parts as one gzip stream: the same voxels give the same bytes, whatever the number of threads.

    Each part is deflated on its own up to a byte's end, as pigz does; deflating lets go of the interpreter's lock.
    """
    yield GZIP_HEADER
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1, len(parts))) as pool:
        yield from pool.map(_deflated, parts)
    yield isal_zlib.compressobj(COMPRESSION_LEVEL, isal_zlib.DEFLATED, RAW_DEFLATE).flush()
    checksum = size = 0
    for part in parts:
        checksum, size = isal_zlib.crc32(part, checksum), size + len(part)
    yield struct.pack("<II", checksum, size % 2**32)


def _deflated(part: bytes | memoryview) -> bytes:
    deflate = isal_zlib.compressobj(COMPRESSION_LEVEL, isal_zlib.DEFLATED, RAW_DEFLATE)
    return deflate.compress(part) + deflate.flush(isal_zlib.Z_FULL_FLUSH)
