"""Settings of the candidates' files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lung_nodule.errors import InputError

LAYOUT_VERSION = 1
LARGEST_PATCH_MM = 200.0


@dataclass(frozen=True)
class CandidateSettings:
    """Settings that affect the files of a scan's candidates.

    Attributes:
        patch_mm: largest edge in mm of the patch that a network looks at; a VOI covers it with a margin
            (``lung_nodule.io.voi_edge_mm``: at least 80 mm).
        negatives_per_scan: non-nodules of a scan that are written as a VOI, drawn at random; None for all of them.
        seed: random seed of that selection.
    """

    patch_mm: float = 64.0
    negatives_per_scan: int | None = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.patch_mm, bool) or not isinstance(self.patch_mm, int | float):
            raise InputError(f"--patch_mm must be a number, got {self.patch_mm!r}")
        if not 0 < self.patch_mm <= LARGEST_PATCH_MM:
            raise InputError(f"--patch_mm is a cube's edge in mm, above 0 and at most 200, got {self.patch_mm}")
        if self.negatives_per_scan is not None:
            _check_whole("--negatives_per_scan", self.negatives_per_scan, " or `all`")
        _check_whole("--seed", self.seed)

    def as_dict(self) -> dict[str, Any]:
        """The settings for JSON, with the version of the layout."""
        return {"layout_version": LAYOUT_VERSION, **asdict(self), "patch_mm": float(self.patch_mm)}


def _check_whole(flag: str, value: object, otherwise: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{flag} must be a whole number of at least 0{otherwise}, got {value!r}")
