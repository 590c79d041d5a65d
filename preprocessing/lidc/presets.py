"""Named cohorts of LIDC-IDRI: their scans, nodules, and classes from the readers' malignancy ratings.

Every rule uses the annotation database alone. If a paper prints other counts than its rule gives, both are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lung_nodule.errors import InputError
from preprocessing.lidc.records import ScanRecord

THIN_MM = 2.5

# Thin scans that LUNA16 excludes, listed by name: the 0.75 mm irregularity of 0123 did not exclude it, and the database
# shows nothing unusual about 0107.
LUNA16_LEFT_OUT: Mapping[str, str] = {
    "LIDC-IDRI-0085": "duplicate slice positions in the archive",
    "LIDC-IDRI-0146": "duplicate slice positions in the archive",
    "LIDC-IDRI-0418": "duplicate slice positions in the archive",
    "LIDC-IDRI-0572": "duplicate slice positions in the archive",
    "LIDC-IDRI-0979": "duplicate slice positions in the archive",
    "LIDC-IDRI-0267": "non-uniform slice positions",
    "LIDC-IDRI-0514": "non-uniform slice positions",
    "LIDC-IDRI-0672": "non-uniform slice positions",
    "LIDC-IDRI-0107": "left out by LUNA16 for a reason that the database does not show",
}

Nodule = Mapping[str, Any]  # a row of nodules.csv


def every_scan(scan: ScanRecord) -> bool:
    """All 1018 scans."""
    return True


def thin(scan: ScanRecord) -> bool:
    """Slice thickness of at most 2.5 mm: 897 scans."""
    return scan.slice_thickness_mm <= THIN_MM


def in_luna16(scan: ScanRecord) -> bool:
    """The 888 scans of LUNA16."""
    return thin(scan) and scan.patient_id not in LUNA16_LEFT_OUT


@dataclass(frozen=True)
class Preset:
    """A cohort's rule.

    Attributes:
        name: name on the command line.
        rule: rule in words.
        takes_scan: function that tells whether a scan belongs to the cohort.
        takes_nodule: function that tells whether a nodule of such a scan does, by its row of nodules.csv.
        statistic: ``mean`` or ``median`` of the readers' malignancy ratings, compared with 3.
        printed: counts printed in the paper, if any.
        note: remarks on these counts.
    """

    name: str
    rule: str
    takes_scan: Callable[[ScanRecord], bool]
    takes_nodule: Callable[[Nodule], bool]
    statistic: str = "mean"
    printed: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


def _three_readers(nodule: Nodule) -> bool:
    return nodule["readers"] >= 3


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="all",
            rule="every cluster of annotations",
            takes_scan=every_scan,
            takes_nodule=lambda nodule: True,
        ),
        Preset(
            name="luna16",
            rule="the 888 scans of LUNA16 (thickness <= 2.5 mm, nine left out by name), >= 3 readers",
            takes_scan=in_luna16,
            takes_nodule=_three_readers,
            printed={"scans": 888, "nodules": 1186},
        ),
        Preset(
            name="mtcnn",
            rule="thickness <= 2.5 mm, >= 3 readers; class by MEDIAN malignancy",
            takes_scan=thin,
            takes_nodule=_three_readers,
            statistic="median",
            printed={"benign": 369, "malignant": 335, "uncertain": 405},
            note="the printed counts differ from what the rule gives",
        ),
        Preset(
            name="mtmrnet",
            rule="mean malignancy other than 3, >= 1 reader",
            takes_scan=every_scan,
            takes_nodule=lambda nodule: nodule["malignancy_mean"] != 3,
            printed={"benign": 972, "malignant": 450},
            note="the printed counts are nearest to >= 2 readers, which gives 984 benign and 591 malignant",
        ),
        Preset(
            name="mtnet",
            rule=">= 2 readers, mean diameter 3 to 25 mm; class by mean malignancy",
            takes_scan=every_scan,
            takes_nodule=lambda nodule: nodule["readers"] >= 2 and 3 <= nodule["diameter_mm"] <= 25,
            printed={"benign": 470, "malignant": 1073},
            note="irreproducible: no rule reaches the printed counts",
        ),
        Preset(
            name="benchmark",
            rule="thickness <= 2.5 mm, >= 3 readers; class by mean malignancy, 3 is kept but has no binary label",
            takes_scan=thin,
            takes_nodule=_three_readers,
        ),
    )
}


def preset_named(name: object) -> Preset:
    """The preset with this name.

    Raises:
        InputError: there is no preset of that name.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(f"--preset is one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]
