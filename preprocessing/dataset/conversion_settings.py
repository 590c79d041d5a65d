"""Settings of a conversion: equal settings give equal files."""

from __future__ import annotations

from dataclasses import dataclass

from lung_nodule.errors import InputError
from lung_nodule.io import DUPLICATE_RULES
from lung_nodule.lidc import consensus_policy

LAYOUT_VERSION = 2  # 2: annotations.csv calls the volume inside the contours contour_volume_mm3


@dataclass(frozen=True)
class ConversionSettings:
    """Settings that affect the files of a scan.

    Attributes:
        consensus: number of readers that must have marked a voxel, as a policy in the notation of
            :func:`lung_nodule.lidc.consensus_policy`.
        margin_mm: half the edge in mm of the cube around a nodule's centre that its VOI covers.
        duplicates: rule for different slices at one position: ``refuse`` it, or use the ``first`` or ``last`` slice by
            InstanceNumber. It affects only such scans, so it is in their records and not in ``as_dict``.
    """

    consensus: float | str = 0.5
    margin_mm: float = 40.0
    duplicates: str = "refuse"

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "consensus", consensus_policy(self.consensus))
        except ValueError as error:
            raise InputError(str(error)) from error
        if isinstance(self.margin_mm, bool) or not isinstance(self.margin_mm, (int, float)):
            raise InputError(f"--margin_mm must be a number, got {self.margin_mm!r}")
        if not 0 < self.margin_mm <= 1000:
            raise InputError(f"--margin_mm is half a cube's edge in mm, above 0 and at most 1000, got {self.margin_mm}")

        if self.duplicates not in DUPLICATE_RULES:
            raise InputError(
                f"--duplicates must be {', '.join(DUPLICATE_RULES[:-1])} or {DUPLICATE_RULES[-1]}, "
                f"got {self.duplicates!r}"
            )

    def as_dict(self) -> dict[str, float | str]:
        """The settings for JSON, with the version of the layout."""
        return {
            "layout_version": LAYOUT_VERSION,
            "consensus": self.consensus,
            "margin_mm": float(self.margin_mm),
        }
