"""Body, organs and lung parenchyma: everything in the chest CT except lung vessels and nodules.

Shapes are smooth, so they are evaluated on every second pixel and interpolated; only the surfaces of body and lungs,
with a contrast of 900 HU, are rendered at full resolution.
"""

from __future__ import annotations

import numpy as np

from preprocessing.phantom.anatomy import Anatomy
from preprocessing.phantom.distance_fields import (
    Field,
    capsule,
    disc,
    ellipsoid,
    intersection,
    paint,
    superellipse,
    union,
)
from preprocessing.phantom.grid import Grid, upsample
from preprocessing.phantom.noise import Mottle
from preprocessing.phantom.skeleton import Skeleton

AIR, LUNG, FAT, MUSCLE, LIVER, TABLE = -1000.0, -868.0, -102.0, 50.0, 58.0, -250.0
RIB_RING = 0.52  # share of its width that the rib cage keeps above the lungs


def render(grid: Grid, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Draw the scan without lung vessels, nodules and noise.

    Returns:
        int16 [z, y, x] in HU, z ascending.
    """
    x, y = grid.coarse_axes()
    skeleton = Skeleton.of(anatomy, x, y)
    extent = {"shape": grid.coarse_shape, "slices": len(grid.z)}
    streaks = Mottle(rng, **extent, blur_pixels=3.5, blur_slices=4)
    texture = Mottle(rng, **extent, blur_pixels=3.0, blur_slices=2)
    outside = upsample(_table(anatomy, x, y))
    volume = np.empty(grid.shape, dtype=np.int16)
    for k, z in enumerate(grid.z.astype(np.float32)):
        body, lungs = anatomy.body(x, y, z), anatomy.lungs(x, y, z)
        tissue = _tissue(skeleton, body, z, x, y, streaks.at(k))
        image = outside.copy()
        paint(image, upsample(body), upsample(tissue), 1.5 * grid.pixel_mm)
        if lungs.max() > 0:
            paint(image, upsample(lungs), upsample(_parenchyma(skeleton, z, texture.at(k))), 1.3)
        volume[k] = np.rint(image)
    return volume


def _table(anatomy: Anatomy, x: Field, y: Field) -> Field:
    """Air around the body with the couch's two curved shells below it."""
    px, py = anatomy.local(x, y)
    sag = py - 120 + 14 * (px / 140) ** 2
    image = np.full(sag.shape, AIR, dtype=np.float32)
    on_couch = 175 - np.abs(px) + 0 * py
    for depth, thickness in ((3.0, 1.2), (24.0, 1.6)):
        paint(image, intersection(thickness - np.abs(sag - depth), on_couch), TABLE)
    return image


def _parenchyma(skeleton: Skeleton, z: float, texture: Field) -> Field:
    """Lung tissue: denser towards the back (gravity), mottled, with the oblique fissure as a faint line."""
    height = float(skeleton.anatomy.height(z))
    fissure = np.abs(skeleton.py - 62 + 118 * (1 - height) - 0.0012 * skeleton.px**2 + 10)
    line = np.clip(1.4 - fissure, 0, 1) * 60
    return LUNG + 0.32 * skeleton.py + 13 * texture + line


def _tissue(skeleton: Skeleton, body: Field, z: float, x: Field, y: Field, streaks: Field) -> Field:
    """HU of everything but the lungs on one slice, [h, w] float32."""
    anatomy = skeleton.anatomy
    ring = anatomy.cavity(x, y, z, narrowest=RIB_RING)
    tissue = np.full(body.shape, FAT, dtype=np.float32) + 6 * streaks
    muscle = MUSCLE + 8 * streaks
    paint(tissue, body - 9 - 5 * np.abs(np.sin(skeleton.angle + 0.4)), muscle, 2.5)
    paint(tissue, intersection((streaks - 1.0) * 3, -ring - 13), FAT, 2.5)
    paint(tissue, 1.8 - body, 20.0)
    paint(tissue, intersection(ring - 3, 140 - skeleton.py), FAT + 8 * streaks, 2.5)
    _abdomen(tissue, skeleton, ring, z, x, y)
    _vessels_of_the_chest(tissue, skeleton, z, x, y)
    skeleton.paint(tissue, ring, z)
    return tissue


def _abdomen(tissue: Field, skeleton: Skeleton, ring: Field, z: float, x: Field, y: Field) -> None:
    """Liver, spleen and the stomach with its bubble, below the diaphragm."""
    anatomy, px, py = skeleton.anatomy, skeleton.px, skeleton.py
    below = intersection(ring - 4, -anatomy.above_diaphragm(x, y, z) - 1.5)
    if below.max() <= 0:
        return
    enhanced = 45.0 if anatomy.contrast else 0.0
    dz = (z - anatomy.z_dome) / anatomy.scale
    paint(tissue, below, MUSCLE, 2.5)
    paint(tissue, below - 3, FAT, 2.5)
    stomach = intersection(below - 3, ellipsoid(px - 58, py + 22, dz + 52, (46, 44, 38)))
    paint(tissue, stomach, 35.0)
    paint(tissue, intersection(stomach - 5, -26 - py), -950.0)
    paint(tissue, intersection(below - 3, ellipsoid(px - 84, py - 34, dz + 56, (36, 38, 42))), LIVER - 8 + enhanced)
    paint(tissue, intersection(below - 2.5, 24 - px - 0.35 * np.abs(py + 10), 8), LIVER + enhanced, 2.5)


def _vessels_of_the_chest(tissue: Field, skeleton: Skeleton, z: float, x: Field, y: Field) -> None:
    """Heart, aorta with its arch, pulmonary trunk, vena cava, oesophagus."""
    anatomy, px, py = skeleton.anatomy, skeleton.px, skeleton.py
    blood, u = anatomy.blood_hu, float(anatomy.height(z))
    heart = intersection(anatomy.heart_field(x, y, z), anatomy.above_diaphragm(x, y, z) + 14)
    paint(tissue, heart, 62.0 + (blood - 48) * 0.45, 2.5)
    for dx, dy, radius in ((8, -10, 22), (-22, 4, 20)):
        paint(tissue, intersection(heart - 8, disc(px - 20 - dx, py + 24 - dy, radius)), blood, 5)
    rise = (z - anatomy.at(0.0)) / anatomy.scale

    def piece(field: Field, low: float, high: float) -> None:
        span = anatomy.at(1.0) - anatomy.at(0.0)
        ends = min(rise - low * span / anatomy.scale, high * span / anatomy.scale - rise)
        paint(tissue, np.minimum(field, ends), blood, 2.0)

    piece(disc(px - 23, py - 38, 12.5), -1.0, 0.72)
    piece(disc(px + 12, py + 26, 15), 0.28, 0.70)
    piece(disc(px + 21, py + 8, 8.5), 0.30, 0.92)
    piece(disc(px - 16, py + 24, 13), 0.34, 0.54)
    arch, _ = capsule(px, py, (z - anatomy.at(0.71)) / anatomy.scale, (-11, -24, 0), (20, 32, 0), (13.5, 12.0))
    paint(tissue, arch, blood, 2.0)
    right, _ = capsule(px, py, (z - anatomy.at(0.47)) / anatomy.scale, (14, -12, 0), (-38, 2, 0), (10.0, 7.5))
    left, _ = capsule(px, py, (z - anatomy.at(0.50)) / anatomy.scale, (18, -14, 0), (40, 14, 0), (10.0, 7.5))
    paint(tissue, union(right, left), blood, 2.0)
    if u > 0.7:
        for dx, dy, radius in ((-15, -14, 6.0), (1, -18, 4.5), (15, -4, 5.0)):
            piece(disc(px - dx, py - dy, radius), 0.72, 2.0)
    paint(tissue, superellipse(px - 7, py - 21, 6, 4.5), 38.0, 2.0)
