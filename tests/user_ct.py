"""A user's CT with nodules at known places, and the table that a user would write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lung_nodule.io import Volume, write_nifti
from tests.io.dicom_series import SeriesPlan, write_series

SHAPE = (72, 64, 30)
CENTERS = np.array([[-20.0, -24.0, 150.0], [-36.5, -34.0, 131.0]])
DIAMETERS = (14.0, 9.0)
LPS = np.array([[-0.8, 0, 0, 0], [0, -0.9, 0, 0], [0, 0, 2.0, 110.0], [0, 0, 0, 1.0]])
FLIPPED = np.array([[0, 0.9, 0, -57.0], [0.8, 0, 0, -57.0], [0, 0, -2.0, 168.0], [0, 0, 0, 1.0]])


def chest(affine: np.ndarray = LPS, *, seed: int = 0) -> Volume:
    """A CT of lung (HU, int16) with a ball of soft tissue at each of the centres."""
    world = Volume(np.zeros(SHAPE, dtype=np.int16), affine).to_world(np.moveaxis(np.indices(SHAPE), 0, -1))
    ct = np.random.default_rng(seed).normal(-850, 20, SHAPE)
    for center, diameter in zip(CENTERS, DIAMETERS, strict=True):
        ct[np.linalg.norm(world - center, axis=-1) < diameter / 2] = 40
    return Volume(ct.astype(np.int16), affine)


def write_ct(path: Path, affine: np.ndarray = LPS, *, seed: int = 0) -> Path:
    """The chest as NIfTI."""
    write_nifti(path, chest(affine, seed=seed))
    return path


def write_dicom(folder: Path, **options: object) -> Path:
    """The chest (LPS) as a DICOM series; options of the series' plan."""
    voxels = chest().data
    corners = [(0.0, 0.0, 110.0 + 2.0 * k) for k in range(SHAPE[2])]
    stored = {"stored": lambda k: (voxels[:, :, k].T + 1024).astype(np.int16), "pixel_spacing": (0.9, 0.8)}
    write_series(folder, SeriesPlan(**{"corners": corners, **stored, **options}))
    return folder


def write_centers(path: Path, centers: np.ndarray = CENTERS, **columns: object) -> Path:
    """Ids and centres, and further columns."""
    table = pd.DataFrame(centers, columns=["center_x_ras", "center_y_ras", "center_z_ras"])
    table.insert(0, "nodule_id", [f"nodule_{index}" for index in range(len(table))])
    path.parent.mkdir(parents=True, exist_ok=True)
    table.assign(**columns).to_csv(path, index=False)
    return path


def write_centers_dataset(folder: Path, ct: Path) -> Path:
    """A dataset in our layout whose VOIs are the whole CT, with the same two nodules in fold 0."""
    table = write_centers(
        folder / "nodules.csv",
        patient_id="SYN-0000",
        readers=3,
        slice_thickness_mm=2.0,
        diameter_mm=DIAMETERS,
        malignancy_mean=3.0,
        **{column: str(ct) for column in ("ct", "mask", "reader_masks")},
    )
    pd.DataFrame({"patient_id": ["SYN-0000"], "fold": [0]}).to_csv(folder / "folds.csv", index=False)
    return table
