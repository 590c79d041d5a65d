"""Candidate tables in LUNA16's form from a converted dataset, for scans without its own tables (the phantom)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import binary_dilation, binary_erosion

from lung_nodule.io import center_of, read_nifti, read_table, write_table

LPS = np.array([-1.0, -1.0, 1.0])
LUNG_HU, DENSE_HU = (-950, -700), -400
SMALLEST_MM = 3.0


def write_luna16_tables(dataset: Path, out: Path, *, negatives: int = 12, min_readers: int = 1, seed: int = 0) -> Path:
    """Write ``candidates.csv``, ``annotations.csv`` and ``subsets.csv``: nodules, and points on vessels and in lung.

    Positives lie up to a quarter of the diameter off the centre. Half of the negatives are dense voxels inside the
    lung that belong to no nodule (vessels), half are lung. Scans take turns in the ten subsets.

    Args:
        dataset: folder that ``convert`` wrote.
        out: folder in which to write the three tables.
        negatives: number of non-nodules per scan.
        min_readers: minimum number of readers of a nodule.
        seed: random seed.
    """
    scans = read_table(dataset / "scans.csv", ["scan", "series_uid", "ct", "nodule_labels"])
    nodules = read_table(dataset / "nodules.csv", ["series_uid", "readers", "diameter_mm"])
    nodules = nodules[(nodules["readers"] >= min_readers) & (nodules["diameter_mm"] >= SMALLEST_MM)]
    random = np.random.default_rng(seed)
    candidates, annotations = [], []
    for scan in scans.to_dict("records"):
        series = scan["series_uid"]
        for nodule in nodules[nodules["series_uid"] == series].to_dict("records"):
            center, diameter = np.array(center_of(nodule)), nodule["diameter_mm"]
            step = random.normal(size=3)
            beside = center + step / np.linalg.norm(step) * random.uniform(0, diameter / 4)
            annotations.append({**_row(series, center), "diameter_mm": diameter})
            candidates.append({**_row(series, beside), "class": 1})
        for place in _negatives(dataset, scan["ct"], scan["nodule_labels"], negatives, random):
            candidates.append({**_row(series, place), "class": 0})
    subsets = pd.DataFrame({"seriesuid": scans["series_uid"], "subset": np.arange(len(scans)) % 10})
    for name, table in (("candidates", candidates), ("annotations", annotations), ("subsets", subsets)):
        write_table(out / f"{name}.csv", pd.DataFrame(table))
    return out


def _negatives(dataset: Path, ct: str, labels: str, count: int, random: np.random.Generator) -> np.ndarray:
    """RAS positions [count, 3], every second voxel in each plane looked at: that is enough to draw from."""
    volume, marked = read_nifti(dataset / ct), read_nifti(dataset / labels)
    step = (slice(None, None, 2), slice(None, None, 2), slice(None))
    hu, nodule = volume.data[step], np.asarray(binary_dilation(marked.data[step] > 0, iterations=4), dtype=bool)
    lung = (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])
    around = np.asarray(binary_dilation(binary_erosion(lung, iterations=1), iterations=4), dtype=bool)
    vessels = np.argwhere((hu > DENSE_HU) & around & ~nodule)
    plain = np.argwhere(np.asarray(binary_erosion(lung, iterations=2), dtype=bool) & ~nodule)
    chosen = [random.choice(part, size=size) for part, size in ((vessels, count // 2), (plain, count - count // 2))]
    return volume.to_world(np.concatenate(chosen) * (2, 2, 1))


def _row(series: str, ras: np.ndarray) -> dict[str, object]:
    return {"seriesuid": series, **dict(zip(("coordX", "coordY", "coordZ"), (ras * LPS).tolist(), strict=True))}
