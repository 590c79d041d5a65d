"""Bones: spine, ribs, breastbone, collarbones and shoulder blades."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.phantom.anatomy import Anatomy
from preprocessing.phantom.distance_fields import Field, disc, intersection, paint, superellipse, union

CORTEX, MARROW, CORD, CARTILAGE, DISK = 600.0, 190.0, 30.0, 120.0, 90.0
RIB_PITCH_MM = 27.0
VERTEBRA_PITCH_MM = 25.0


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The fields that are the same on every slice, [h, w] in template coordinates (mm at scale 1).

    ``angle`` runs around the chest from 0 at the spine to pi at the breastbone.
    """

    anatomy: Anatomy
    px: Field
    py: Field
    angle: Field
    vertebra: Field
    arch: Field
    canal: Field

    @classmethod
    def of(cls, anatomy: Anatomy, x: Field, y: Field) -> Skeleton:
        """Evaluate the fixed fields at x [1, w], y [h, 1] in mm from the image's centre."""
        px, py = np.broadcast_arrays(*anatomy.local(x, y))
        side = np.abs(px)
        lamina = union(superellipse(px, py - 79, 13, 6), superellipse(px, py - 93, 3.0, 14), 6)
        transverse = superellipse(side - 24, py - 70 - 0.3 * (side - 24), 15, 4.5)
        return cls(
            anatomy=anatomy,
            px=px,
            py=py,
            angle=np.arctan2(side, py - 8),
            vertebra=superellipse(px, py - 49, 18, 14.5, 2.3),
            arch=union(lamina, transverse, 6),
            canal=disc(px, py - 70, 8),
        )

    def paint(self, tissue: Field, ring: Field, z: float) -> None:
        """Draw the bones of one slice over ``tissue`` [h, w] (HU, in place); ``ring`` is the rib cage's field."""
        u = float(self.anatomy.height(z))
        self._spine(tissue, z)
        self._ribs(tissue, ring, z, u)
        self._front(tissue, u)
        self._blades(tissue, ring, u)

    def _spine(self, tissue: Field, z: float) -> None:
        phase = abs((z / VERTEBRA_PITCH_MM) % 1 - 0.5) * VERTEBRA_PITCH_MM
        inside_body = np.clip((VERTEBRA_PITCH_MM / 2 - 2.5 - phase) / 2, 0, 1)
        _bone(tissue, self.arch)
        paint(tissue, self.vertebra, DISK + inside_body * (CORTEX - 150 - DISK), 2.5)
        paint(tissue, self.vertebra - 2, DISK + inside_body * (MARROW - DISK), 2.5)
        paint(tissue, self.canal, CORD, 2)

    def _ribs(self, tissue: Field, ring: Field, z: float, u: float) -> None:
        if u > 1.08:
            return
        drop = 38 * (1 - np.cos(self.angle))
        dz = (z + drop) / self.anatomy.scale % RIB_PITCH_MM - RIB_PITCH_MM / 2
        rib = superellipse(-ring / self.anatomy.scale - 6.5, dz, 4.2, 6.5)
        _bone(tissue, intersection(rib, (np.minimum(self.angle - 0.3, 2.25 - self.angle)) * 80))
        paint(tissue, intersection(rib, np.minimum(self.angle - 2.25, 2.85 - self.angle) * 80), CARTILAGE)

    def _front(self, tissue: Field, u: float) -> None:
        front = self.py - self.anatomy.front(u) + 9
        if 0.05 < u < 0.93:
            _bone(tissue, superellipse(self.px, front, 12 + 10 * max(u - 0.4, 0), 5.0, 2.6))
        lift = 60 * (u - 0.93)
        if abs(lift) < 5:  # the collarbones rise towards the sides
            _bone(tissue, superellipse(np.abs(self.px) - 28 - lift * 1.5, front + 2, 22, 6 - abs(lift) * 0.6))

    def _blades(self, tissue: Field, ring: Field, u: float) -> None:
        if not 0.42 < u < 1.1:
            return
        far = 17 + 16 * np.clip(self.angle - 0.7, 0, None)
        plate = 2.8 - np.abs(-ring / self.anatomy.scale - far)
        reach = 0.12 + 0.33 * np.clip((u - 0.42) / 0.3, 0, 1)
        _bone(tissue, intersection(plate, (reach - np.abs(self.angle - 0.85)) * 90))


def _bone(tissue: Field, field: Field) -> None:
    """A shell of cortical bone around marrow."""
    paint(tissue, field, CORTEX)
    paint(tissue, field - 2, MARROW)
