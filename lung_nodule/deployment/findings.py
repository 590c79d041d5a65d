"""Result for one nodule, computed from the server's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from lung_nodule.core import Size, nodule_mask, size_of
from lung_nodule.deployment.answers import Answer
from lung_nodule.deployment.occlusion import Occlusion
from lung_nodule.io import SliceNumbers, Voi, mask_path, occlusion_path


@dataclass(frozen=True, eq=False)
class Finding:
    """A nodule with its VOI, the server's answer, its masks and their sizes.

    Attributes:
        label: label in the instance label map, from 1.
        center_ras: requested centre in RAS, mm.
        voi: VOI that was sent.
        answer: maps and scores from the server.
        masks: bool ``[x, y, z]`` by map name: the map thresholded at 0.5, component at the centre.
        sizes: size of each mask by name.
        numbers: slice numbers of the original CT; None if unknown.
        occlusion: occlusion map of the malignancy, if requested.
        tracking_uid: UID that a DICOM object gave the nodule; empty if none did.
    """

    label: int
    center_ras: tuple[float, float, float]
    voi: Voi
    answer: Answer
    masks: Mapping[str, np.ndarray]
    sizes: Mapping[str, Size]
    numbers: SliceNumbers | None = None
    occlusion: Occlusion | None = None
    tracking_uid: str = ""

    @property
    def nodule_id(self) -> str:
        """Name of the nodule."""
        return self.voi.nodule_id

    @property
    def mask(self) -> np.ndarray | None:
        """Mask of the first map; None for a model without maps."""
        return next(iter(self.masks.values()), None)

    @property
    def size(self) -> Size | None:
        """Size of :attr:`mask`; None if there is no mask or it is empty."""
        return None if self.mask is None or not self.mask.any() else next(iter(self.sizes.values()))

    @property
    def sizes_by_method(self) -> dict[str, Size]:
        """Sizes of the methods' masks and of the mean's mask; empty if fewer than two methods found the nodule.

        The maps of one method (fine, coarse) are not independent predictions and do not count.
        """
        found = {name: self.sizes[name] for name, mask in self.masks.items() if mask.any()}
        return found if len(found.keys() & self.answer.methods.keys()) > 1 else {}

    @property
    def center(self) -> np.ndarray:
        """``[3]`` fractional voxel index of the centre in the canonical CT."""
        return self.voi.center + [part.start for part in self.voi.box]

    @property
    def slice_number(self) -> int | None:
        """Number of the slice nearest to the centre, counted as in :attr:`numbers`; None if it has none."""
        return None if self.numbers is None else self.numbers.at(self.numbers.axis, self.center[self.numbers.axis])

    @property
    def mean_hu(self) -> float:
        """Mean HU inside the mask; NaN if it is empty."""
        return float("nan") if self.size is None else float(self.voi.volume.data[self.mask].mean())


def make_finding(label: int, center_ras: Sequence[float], voi: Voi, answer: Answer) -> Finding:
    """Restrict the maps to the nodule at the centre and measure it."""
    spacing = voi.volume.spacing
    x, y, z = (float(value) for value in center_ras)
    masks = {name: nodule_mask(map_, voi.center, spacing) for name, map_ in answer.maps.items()}
    sizes = {name: size_of(mask, spacing).rounded() for name, mask in masks.items()}
    return Finding(label, (x, y, z), voi, answer, masks, sizes)


def as_row(finding: Finding) -> dict[str, object]:
    """Row of ``nodules.csv``; outputs that the model does not have get no column."""
    x, y, z = finding.center_ras
    answer = finding.answer
    row: dict[str, object] = {
        "nodule_id": finding.nodule_id,
        "label": finding.label,
        "center_x_ras": x,
        "center_y_ras": y,
        "center_z_ras": z,
        **_slice_number(finding),
        "malignancy_prob": answer.malignancy,
        "malignancy_prob_min": answer.interval[0],
        "malignancy_prob_max": answer.interval[1],
    }
    for method, (score, interval) in answer.methods.items():
        row |= {f"{method}_prob": score, f"{method}_prob_min": interval[0], f"{method}_prob_max": interval[1]}
    row |= {f"{name}_pred": rating for name, rating in answer.attributes.items()}
    row |= {f"{name}_prob": probability for name, probability in answer.high.items()}
    if answer.diameter_mm > 0:
        row["used_diameter_mm"] = round(answer.diameter_mm, 2)
    return row | _of_masks(finding) | _of_occlusion(finding)


def _slice_number(finding: Finding) -> dict[str, int | None]:
    if finding.numbers is None:
        return {}
    return {"instance_number" if finding.numbers.instances else "slice_index": finding.slice_number}


def _of_occlusion(finding: Finding) -> dict[str, object]:
    found = finding.occlusion
    if found is None:
        return {}
    return {
        "occlusion_map": occlusion_path(finding.nodule_id),
        "occlusion_cube_mm": round(found.cube_mm, 2),
        "occlusion_hu": round(found.hu, 1),
        "occlusion_lowest": float(found.change.min()),
        "occlusion_highest": float(found.change.max()),
    }


def _of_masks(finding: Finding) -> dict[str, object]:
    if not finding.sizes:
        return {}
    (_, size), *others = finding.sizes.items()
    return {
        **asdict(size),
        **{f"{name}_volume_mm3": other.volume_mm3 for name, other in others},
        "mean_hu": round(finding.mean_hu, 1),
        "mask": mask_path(finding.nodule_id),
    }
