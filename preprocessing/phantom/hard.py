"""Hard cases: irregularities of real downloads of LIDC-IDRI, one patient each.

If the irregularity is a property of a real scan (uneven slices, two scans, many annotations, a flip), the case is that
scan; the others are made in the files of a small scan. ``convert`` must handle or refuse each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless

from lung_nodule.errors import InputError

Page = tuple[int, int]  # indices of the slices that give a file its position and its pixels


@dataclass(frozen=True)
class HardCase:
    """A hard case, and how its series is written. This class changes nothing: the scan itself is the case.

    Attributes:
        name: name on the command line.
        patient: patient of the case, outside the hold-out.
        about: irregularity in one line.
        refused: whether ``convert`` must refuse the scan (True) or handle it (False).
        turned: whether the pixels are stored rotated by 180 degrees in the plane.
    """

    name: str
    patient: str
    about: str
    refused: bool = False
    turned: bool = False

    def pages(self, slices: int) -> list[Page]:
        """The pages of the series' files in the order of InstanceNumber, from the top slice down."""
        return [(k, k) for k in reversed(range(slices))]

    def describe(self, dataset: FileDataset) -> None:
        """Change the attributes that all files of the series share, in place."""

    def save(self, dataset: FileDataset, path: Path, number: int) -> None:
        """Write one file."""
        dataset.save_as(path, enforce_file_format=True)


class DuplicateSlices(HardCase):
    """Three slices occur twice."""

    def pages(self, slices: int) -> list[Page]:
        return [*super().pages(slices), *((k, k) for k in (slices // 2, slices // 2 + 1, slices - 2))]


class DifferingDuplicates(HardCase):
    """Two slices with different pixels at one position."""

    def pages(self, slices: int) -> list[Page]:
        return [*super().pages(slices), (slices // 2, slices // 2 + 4)]


class MissingSlices(HardCase):
    """Two inner slices and the lowest one are missing."""

    def pages(self, slices: int) -> list[Page]:
        missing = {0, slices // 3, slices // 2}
        return [(position, image) for position, image in super().pages(slices) if position not in missing]


class OddNumbers(HardCase):
    """PixelSpacing is written like ``006.054690e-01``, and padding is declared as an unsigned 63536."""

    def describe(self, dataset: FileDataset) -> None:
        mantissa, exponent = f"{float(dataset.PixelSpacing[0]):.6e}".split("e")
        dataset.PixelSpacing = [f"00{mantissa}e{exponent}"] * 2
        del dataset.PixelPaddingValue
        dataset.add_new("PixelPaddingValue", "US", 2**16 - 2000)


class Compressed(HardCase):
    """Every third file is RLE compressed, so that the series mixes transfer syntaxes."""

    def save(self, dataset: FileDataset, path: Path, number: int) -> None:
        if number % 3:
            super().save(dataset, path, number)
            return
        plain = dataset.file_meta.TransferSyntaxUID
        dataset.compress(RLELossless, generate_instance_uid=False)
        super().save(dataset, path, number)
        dataset.file_meta.TransferSyntaxUID = plain


class NoRescale(HardCase):
    """RescaleIntercept is missing, so stored values cannot be converted to HU."""

    def describe(self, dataset: FileDataset) -> None:
        del dataset.RescaleIntercept


class Truncated(HardCase):
    """A file ends in the middle of its pixels, as after an interrupted download."""

    def save(self, dataset: FileDataset, path: Path, number: int) -> None:
        super().save(dataset, path, number)
        if number == 40:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


_CASES = (
    HardCase("flip", "LIDC-IDRI-0415", "stored rotated by 180 degrees in the plane, as on TCIA", turned=True),
    HardCase("non_uniform_z", "LIDC-IDRI-0267", "two slices too close to the next, as on TCIA"),
    HardCase("z_gap", "LIDC-IDRI-0514", "the lowest slice is 38 mm away from the others, as on TCIA"),
    HardCase("two_scans", "LIDC-IDRI-0365", "two scans of one patient"),
    HardCase("many_readers", "LIDC-IDRI-0055", "a nodule with six annotations"),
    HardCase("no_nodules", "LIDC-IDRI-0382", "no nodule of 3 mm or more was marked"),
    HardCase("off_scale", "LIDC-IDRI-0510", "a reader gives internal structure 5, of 1-4"),
    DuplicateSlices("duplicate_slices", "LIDC-IDRI-0104", "three slices twice, with the same pixels"),
    DifferingDuplicates("differing_duplicates", "LIDC-IDRI-0351", "two different slices at one position", refused=True),
    MissingSlices("missing_slice", "LIDC-IDRI-0098", "three slices are missing", refused=True),
    NoRescale("no_rescale", "LIDC-IDRI-0222", "RescaleIntercept is missing", refused=True),
    Truncated("truncated", "LIDC-IDRI-0475", "a file truncated in its pixels", refused=True),
    OddNumbers("odd_numbers", "LIDC-IDRI-0904", "PixelSpacing like 006.054690e-01, padding declared unsigned"),
    Compressed("compressed", "LIDC-IDRI-0595", "every third file RLE compressed"),
)
HARD_CASES: dict[str, HardCase] = {case.name: case for case in _CASES}


def hard_cases(names: Sequence[str]) -> list[HardCase]:
    """The cases with these names; ``all`` selects every case.

    Raises:
        InputError: a name is unknown.
    """
    unknown = sorted(set(names) - {*HARD_CASES, "all"})
    if unknown:
        raise InputError(f"no hard case named {', '.join(unknown)}: there are {', '.join(HARD_CASES)}, or all")
    return [case for name, case in HARD_CASES.items() if name in names or "all" in names]
