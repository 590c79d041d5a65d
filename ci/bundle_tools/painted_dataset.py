"""A dataset of painted nodules in the layout that every bundle reads: small, quick to write, with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lung_nodule.io import Volume, write_json, write_nifti, write_table

SPACING = np.array([0.7, 0.7, 1.25])
SHAPE = (56, 56, 24)


def write_dataset(out: Path, *, patients: int = 10, nodules_per_patient: int = 2, seed: int = 0) -> Path:
    """Write VOIs with one ball each: large ones are rated malignant, every fifth nodule is rated 3."""
    random = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        for number in range(nodules_per_patient):
            index = patient * nodules_per_patient + number
            rows.append(_write_nodule(out, f"SYN-{patient:04d}", index, random))
    write_table(out / "nodules.csv", pd.DataFrame(rows))
    folds = [{"patient_id": f"SYN-{patient:04d}", "fold": patient % 5} for patient in range(patients)]
    write_table(out / "folds.csv", pd.DataFrame(folds))
    write_json(out / "dataset.json", {"name": "painted balls", "synthetic_scans": patients})
    return out


def paint(radius_mm: float, center: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A soft ball of 40 HU in noisy lung of -850 HU, and its mask."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    distance = np.linalg.norm((grid - center) * SPACING, axis=-1)
    ct = -850 + 890 / (1 + np.exp(2 * (distance - radius_mm))) + random.normal(0, 20, SHAPE)
    return ct.astype(np.int16), (distance <= radius_mm).astype(np.uint8)


def _write_nodule(out: Path, patient: str, index: int, random: np.random.Generator) -> dict[str, object]:
    nodule_id = f"{patient}_a{index:04d}"
    malignant = index % 2
    radius = random.uniform(6, 9) if malignant else random.uniform(3, 5)
    center = np.array(SHAPE) / 2 + random.uniform(-1, 1, 3)
    ct, mask = paint(radius, center, random)
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    affine[:3, 3] = random.uniform(-50, 50, 3)
    paths = {key: f"voi/{nodule_id}_{name}.nii.gz" for key, name in NAMES.items()}
    write_nifti(out / paths["ct"], Volume(ct, affine))
    write_nifti(out / paths["mask"], Volume(mask, affine))
    write_nifti(out / paths["reader_masks"], Volume(np.stack([mask] * 3, axis=-1), affine))
    world = Volume(ct, affine).to_world(center)
    mean = 3.0 if index % 5 == 4 else (4.0 if malignant else 2.0)
    ratings = {**_attributes(malignant, random), "malignancy": mean}
    return {
        "nodule_id": nodule_id,
        "patient_id": patient,
        "readers": 3,
        "slice_thickness_mm": 1.25,
        **{f"center_{axis}_ras": value for axis, value in zip("xyz", world, strict=True)},
        "diameter_mm": 2 * radius,
        **{f"{name}_{how}": value for name, value in ratings.items() for how in ("mean", "median")},
        **paths,
    }


def _attributes(malignant: int, random: np.random.Generator) -> dict[str, float]:
    """Ratings in halves; the large balls are rated higher, so that there is something to learn."""
    names = ["subtlety", "calcification", "sphericity", "margin", "lobulation", "spiculation", "texture"]
    drawn = {name: 2.0 + 1.5 * malignant + 0.5 * random.integers(0, 3) for name in names}
    return {**drawn, "internal_structure": 1.0, "calcification": 6.0 - malignant}


NAMES = {"ct": "ct", "mask": "mask", "reader_masks": "readers"}
