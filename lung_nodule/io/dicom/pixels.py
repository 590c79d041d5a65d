"""The pixels of one DICOM CT file in HU: decompression, rescale, padding."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pydicom
from lung_nodule.errors import InputError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

AIR_HU = -1024
INT16 = np.iinfo(np.int16)
NO_TISSUE_HU = -2000  # LIDC-IDRI fills the corners with a stored -2000, declared or not


def hounsfield(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """One slice [row, column] in HU, int16, padding set to air (-1024); raises as ``hounsfield_and_padding``."""
    return hounsfield_and_padding(dataset, path)[0]


def hounsfield_and_padding(dataset: pydicom.Dataset, path: Path) -> tuple[np.ndarray, int]:
    """One slice [row, column] in HU, int16, padding set to air (-1024), and how many pixels were padding.

    Raises:
        InputError: RescaleSlope or RescaleIntercept is missing or no usable number, or the pixels are cut short, or
            compressed in a way that no installed decoder reads; names the file.
    """
    slope, intercept = _rescale(dataset, path)
    stored = _stored(dataset, path)
    hu = _rescaled(stored, slope, intercept)
    padding = hu <= NO_TISSUE_HU
    for value in _declared_padding(dataset) | _unsigned_padding(dataset):
        if not -1000 <= value * slope + intercept <= 3071:  # a "padding value" that is tissue is a broken header
            padding |= stored == value
    np.putmask(hu, padding, AIR_HU)
    return hu, int(np.count_nonzero(padding))


def without_keeping(dataset: pydicom.FileDataset) -> pydicom.FileDataset:
    """A copy that reads the pixels from the disk without the original keeping them; pydicom's own copies share them."""
    one = copy.copy(dataset)
    one._dict = dict(dataset._dict)
    return one


def _rescale(dataset: pydicom.Dataset, path: Path) -> tuple[float, float]:
    """RescaleSlope and RescaleIntercept; every CT image has both, and a guess would move all HU by about 1024."""
    values = []
    for tag in ("RescaleSlope", "RescaleIntercept"):
        text = dataset.get(tag)
        if text is None:
            raise InputError(f"{path} lacks the attribute {tag}, so its values are not HU: export it again with it")
        value = float(text)
        if not math.isfinite(value) or (value == 0 and tag == "RescaleSlope"):
            raise InputError(f"{path}: {tag} is {text}, so its values are not HU: export it again")
        values.append(value)
    return values[0], values[1]


def _rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """``stored * slope + intercept``, rounded and clipped to int16."""
    if slope == 1 and intercept % 1 == 0 and stored.dtype.itemsize <= 2:
        low, high = (int(value) + int(intercept) for value in (stored.min(), stored.max()))
        if low >= INT16.min and high <= INT16.max and abs(intercept) <= INT16.max:
            # The usual case, in 16 bits throughout: where the sum fits, a wrapped term on the way does no harm.
            return stored.astype(np.int16) + np.int16(intercept)
    hu = stored.astype(np.float32 if slope % 1 or intercept % 1 else np.int32) * _plain(slope) + _plain(intercept)
    return np.rint(hu).clip(INT16.min, INT16.max).astype(np.int16)


def _native(dataset: pydicom.Dataset) -> np.ndarray | None:
    """Stored values [row, column] of one uncompressed 16-bit image, without a copy; None where the file is otherwise.

    pydicom's decoders give the same values, but are slower over hundreds of slices.
    """
    plain = (
        getattr(dataset.file_meta, "TransferSyntaxUID", None) in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
        and (dataset.get("BitsAllocated"), dataset.get("BitsStored")) == (16, 16)
        and dataset.get("SamplesPerPixel", 1) == 1
        and int(dataset.get("NumberOfFrames", 1) or 1) == 1
        and "PixelData" in dataset
        and len(dataset.PixelData) == 2 * dataset.Rows * dataset.Columns
    )
    if not plain:
        return None
    kind = "<i2" if dataset.PixelRepresentation == 1 else "<u2"
    return np.frombuffer(dataset.PixelData, kind).reshape(dataset.Rows, dataset.Columns)


def _stored(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """Stored values [row, column]; whatever pydicom can decompress (RLE always, JPEG with its plugins)."""
    try:
        native = _native(dataset)
        stored = dataset.pixel_array if native is None else native
    except Exception as error:  # each of pydicom's decoders raises its own kind
        reason = " ".join(str(error).split())
        syntax = UID(dataset.file_meta.get("TransferSyntaxUID", "")) if "file_meta" in dataset.__dict__ else UID("")
        packed = f" ({syntax.name})" if syntax.is_transfer_syntax and syntax.is_compressed else ""
        raise InputError(
            f"cannot read the pixels of {path}{packed}: {reason}; download it again or decompress it"
        ) from error
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise InputError(f"{path} holds pixels of shape {stored.shape}, not one image of rows x columns: remove it")
    return stored


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _declared_padding(dataset: pydicom.Dataset) -> set[int]:
    """PixelPaddingValue, also where it is written unsigned (63536) with signed pixels (-2000), or the reverse."""
    if dataset.get("PixelPaddingValue") is None:
        return set()
    value = int(dataset.PixelPaddingValue)
    signed = dataset.PixelRepresentation == 1
    if signed and value >= 2**15:
        return {value, value - 2**16}
    return {value, value + 2**16} if not signed and value < 0 else {value}


def _unsigned_padding(dataset: pydicom.Dataset) -> set[int]:
    """The -2000 of LIDC-IDRI's corners in unsigned pixels."""
    return set() if dataset.PixelRepresentation == 1 else {NO_TISSUE_HU + 2**16}
