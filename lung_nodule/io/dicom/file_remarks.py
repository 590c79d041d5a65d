"""Irregularities of the files of a CT series, apart from their voxels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import pydicom
from lung_nodule.io.dicom.pixels import AIR_HU
from pydicom.uid import UID

NUMBERS = ("PixelSpacing", "ImagePositionPatient", "SliceThickness", "RescaleSlope", "RescaleIntercept")
SHOWN = 8
ODD_NUMBER = re.compile(r"\s*[+-]?0\d.*|.*[eE].*")  # 006.054690e-01: zeros in front, or an exponent


def file_remarks(
    datasets: Sequence[pydicom.Dataset], padded: Mapping[int, int], blank: Sequence[int] = ()
) -> dict[str, str]:
    """``padding``, ``blank_slices``, ``odd_numbers`` and ``compressed``, where they hold: name -> how many files.

    Args:
        datasets: the files' attributes.
        padded: slice -> number of its pixels that were padding.
        blank: slices whose pixels all have one value.
    """
    found = {}
    slices = [count for count in padded.values() if count]
    if slices:
        found["padding"] = f"{sum(slices)} pixels of {len(slices)} slices set to {AIR_HU} HU"
    if blank:
        numbers = ", ".join(str(number + 1) for number in blank[:SHOWN]) + (" ..." if len(blank) > SHOWN else "")
        found["blank_slices"] = f"all pixels of {len(blank)} slices are equal (number {numbers} from below)"
    odd = [f"{name} such as {text} in {count} files" for name, text, count in _odd_numbers(datasets)]
    if odd:
        found["odd_numbers"] = ", ".join(odd)
    packed = Counter(name for dataset in datasets if (name := _compression(dataset)))
    if packed:
        found["compressed"] = ", ".join(
            f"{name} in {count} of {len(datasets)} files" for name, count in sorted(packed.items())
        )
    return found


def _odd_numbers(datasets: Sequence[pydicom.Dataset]) -> list[tuple[str, str, int]]:
    """Attribute, an example and the number of files, for attributes whose text a plain number would not have."""
    found = []
    for name in NUMBERS:
        texts = [odd for dataset in datasets if (odd := _odd_text(dataset, name))]
        if texts:
            found.append((name, texts[0], len(texts)))
    return found


def _odd_text(dataset: pydicom.Dataset, name: str) -> str:
    value = dataset.get(name)
    values = [value] if value is None or isinstance(value, (str, float, int)) else list(value)
    texts = (str(getattr(number, "original_string", None) or "") for number in values)
    return next((text.strip() for text in texts if ODD_NUMBER.fullmatch(text)), "")


def _compression(dataset: pydicom.Dataset) -> str:
    """The name of the transfer syntax of compressed pixels, empty where they are plain."""
    syntax = UID(getattr(dataset, "file_meta", {}).get("TransferSyntaxUID", ""))
    return syntax.name if syntax.is_transfer_syntax and syntax.is_encapsulated else ""
