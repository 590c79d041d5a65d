"""Whole painted CTs as ``convert`` writes them, with candidates in LUNA16's form: nodules, vessels and lung."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lung_nodule.io import Volume, write_json, write_nifti, write_table

SPACING = np.array([1.2, 1.2, 2.0])
SHAPE = (80, 80, 40)
LPS = np.array([-1.0, -1.0, 1.0])


def write_scans(out: Path, *, scans: int = 10, nodules: int = 2, negatives: int = 12, seed: int = 0) -> Path:
    """Write a dataset of whole CTs and, under ``luna16/``, its candidates, annotations and subsets.

    Scan ``k`` is of patient ``SYN-000k`` and in subset ``k % 10``. Positives lie a little off the nodules' centres, as
    a detector's do; half of the negatives lie on vessels, half in the lung. The last scan has no candidates at all.
    """
    random = np.random.default_rng(seed)
    rows, tables = [], {"candidates": [], "annotations": [], "subsets": []}
    for number in range(scans):
        series, scan = f"1.2.826.{number + 1}", f"SYN-{number:04d}_s0"
        volume, places, radii, vessels = _paint(random, nodules)
        ct = f"scans/{scan}_ct.nii.gz"
        write_nifti(out / ct, volume)
        rows.append({"scan": scan, "patient_id": f"SYN-{number:04d}", "series_uid": series, "ct": ct,
                     "slice_thickness_mm": 2.0})  # fmt: skip
        tables["subsets"].append({"seriesuid": series, "subset": number % 10})
        for place, radius in zip(places, radii, strict=True):
            tables["annotations"].append({**_row(series, volume.to_world(place)), "diameter_mm": 2 * radius})
        if number == scans - 1:
            continue
        near = [place + random.uniform(-1, 1, 3) / SPACING for place in places]
        away = [vessels[i % len(vessels)] if i % 2 else _in_lung(random, places) for i in range(negatives)]
        tables["candidates"] += [{**_row(series, volume.to_world(place)), "class": 1} for place in near]
        tables["candidates"] += [{**_row(series, volume.to_world(place)), "class": 0} for place in away]
    write_table(out / "scans.csv", pd.DataFrame(rows))
    folds = [{"patient_id": row["patient_id"], "fold": number % 5} for number, row in enumerate(rows)]
    write_table(out / "folds.csv", pd.DataFrame(folds))
    write_table(out / "nodules.csv", pd.DataFrame({"nodule_id": [], "patient_id": []}))
    write_json(out / "dataset.json", {"name": "painted scans", "synthetic_scans": scans})
    for name, table in tables.items():
        write_table(out / "luna16" / f"{name}.csv", pd.DataFrame(table))
    return out


def _paint(random: np.random.Generator, nodules: int) -> tuple[Volume, np.ndarray, np.ndarray, np.ndarray]:
    """A CT of noisy lung with balls and one vessel; the balls' voxel indices and radii in mm, points of the vessel."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    corners = np.array([[20, 20, 10], [60, 60, 30], [20, 60, 20], [60, 20, 15]], dtype=float)[:nodules]
    places = corners + random.uniform(-2, 2, corners.shape)
    radii = random.uniform(3.0, 7.0, nodules)
    ct = np.full(SHAPE, -850.0)
    for place, radius in zip(places, radii, strict=True):
        ct += 890 / (1 + np.exp(2 * (np.linalg.norm((grid - place) * SPACING, axis=-1) - radius)))
    x, y = random.uniform(36, 44, 2)
    ct += 890 / (1 + np.exp(2 * (np.linalg.norm((grid[..., :2] - (x, y)) * SPACING[:2], axis=-1) - 2.5)))
    vessels = np.array([[x, y, z] for z in np.linspace(6, SHAPE[2] - 7, 6)])
    affine = np.diag([*(LPS * SPACING), 1.0])
    affine[:3, 3] = random.uniform(-50, 50, 3)
    noisy = np.clip(ct, -1024, 200) + random.normal(0, 20, SHAPE)
    return Volume(noisy.astype(np.int16), affine), places, radii, vessels


def _in_lung(random: np.random.Generator, places: np.ndarray) -> np.ndarray:
    """A voxel index at least 12 mm from every nodule."""
    while True:
        place = random.uniform(4, np.array(SHAPE) - 5)
        if (np.linalg.norm((places - place) * SPACING, axis=1) > 12).all():
            return place


def _row(series: str, ras: np.ndarray) -> dict[str, object]:
    """Series and position in LUNA16's world coordinates (LPS)."""
    return {"seriesuid": series, **dict(zip(("coordX", "coordY", "coordZ"), (ras * LPS).tolist(), strict=True))}
