"""The client's result for one nodule, from the server's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lung_nodule.core import nodule_mask
from lung_nodule.deployment.client import Answer
from lung_nodule.deployment.measure import Measurement, measure
from lung_nodule.io import Voi, mask_path


@dataclass(frozen=True, eq=False)
class Finding:
    """One nodule: its VOI, the server's answer, the masks at the centre and their sizes.

    Attributes:
        label: its number in the instance label map, from 1.
        center_ras: the requested centre, mm.
        voi: the cut that was sent.
        answer: the server's maps and probability.
        fine: bool ``[x, y, z]``, fine probability >= 0.5, the component at the centre.
        coarse: the same of the coarse probability.
        size: measured on ``fine``.
        coarse_size: measured on ``coarse``.
    """

    label: int
    center_ras: tuple[float, float, float]
    voi: Voi
    answer: Answer
    fine: np.ndarray
    coarse: np.ndarray
    size: Measurement
    coarse_size: Measurement

    @property
    def nodule_id(self) -> str:
        """Name of the nodule."""
        return self.voi.nodule_id

    @property
    def mean_hu(self) -> float:
        """Mean HU inside the fine mask; NaN where it is empty."""
        return float(self.voi.volume.data[self.fine].mean()) if self.fine.any() else float("nan")


def make_finding(label: int, center_ras: Sequence[float], voi: Voi, answer: Answer) -> Finding:
    """Restrict the maps to the nodule at the centre and measure it."""
    spacing = voi.volume.spacing
    x, y, z = (float(value) for value in center_ras)
    fine, coarse = (nodule_mask(map_, voi.center, spacing) for map_ in (answer.fine, answer.coarse))
    return Finding(
        label,
        (x, y, z),
        voi,
        answer,
        fine,
        coarse,
        measure(fine, spacing).rounded(),
        measure(coarse, spacing).rounded(),
    )


def as_row(finding: Finding) -> dict[str, object]:
    """The finding as a row of ``nodules.csv``."""
    x, y, z = finding.center_ras
    return {
        "nodule_id": finding.nodule_id,
        "label": finding.label,
        "center_x_ras": x,
        "center_y_ras": y,
        "center_z_ras": z,
        "malignancy_prob": finding.answer.malignancy,
        "malignancy_prob_min": finding.answer.interval[0],
        "malignancy_prob_max": finding.answer.interval[1],
        "volume_mm3": finding.size.volume_mm3,
        "equivalent_diameter_mm": finding.size.equivalent_diameter_mm,
        "axial_diameter_mm": finding.size.axial_diameter_mm,
        "coarse_volume_mm3": finding.coarse_size.volume_mm3,
        "mean_hu": round(finding.mean_hu, 1),
        "mask": mask_path(finding.nodule_id),
    }
