"""Test nodule of the server benchmarks."""

from __future__ import annotations

import numpy as np

from lung_nodule.io import Voi, Volume

SHAPE, SPACING, DIAMETER = (115, 115, 65), (0.7, 0.7, 1.25), 14.0


def nodule() -> Voi:
    """Lung of 80 mm with one ball of soft tissue."""
    center = (np.array(SHAPE, dtype=np.float32) - 1) / 2
    distance = np.linalg.norm((np.moveaxis(np.indices(SHAPE), 0, -1) - center) * SPACING, axis=-1)
    data = np.where(distance < DIAMETER / 2, 20, -850 + np.random.default_rng(0).normal(0, 50, SHAPE))
    volume = Volume(data.astype(np.float32), np.diag([*SPACING, 1.0]))
    x, y, z = SHAPE
    return Voi("nodule", volume, (slice(0, x), slice(0, y), slice(0, z)), center)
