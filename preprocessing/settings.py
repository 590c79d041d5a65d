"""What a conversion is made with; two conversions with equal settings give equal files."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from lung_nodule.io import InputError

LAYOUT_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """Settings that change the files of a scan.

    Attributes:
        consensus: fraction of the readers that must have marked a voxel, 0 < consensus <= 1.
        margin_mm: half the edge in mm of the cube around a nodule's centre that its VOI covers.
    """

    consensus: float = 0.5
    margin_mm: float = 40.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"--{name} must be a number, got {value!r}")
        if not 0 < self.consensus <= 1:
            raise InputError(f"--consensus is a fraction of the readers, above 0 and at most 1, got {self.consensus}")
        if not 0 < self.margin_mm <= 1000:
            raise InputError(f"--margin_mm is half a cube's edge in mm, above 0 and at most 1000, got {self.margin_mm}")

    def as_dict(self) -> dict[str, float]:
        """The settings as JSON has them, with the version of the layout."""
        return {
            "layout_version": LAYOUT_VERSION,
            "consensus": float(self.consensus),
            "margin_mm": float(self.margin_mm),
        }
