"""The patient: size and position of body and lungs, fitted so that the lungs contain every nodule.

Coordinates are millimetres: x to the patient's left and y to the back, both from the image's centre, z as in
ImagePositionPatient. The database gives the positions of nodules but not of the lungs, so a template is shifted and
scaled (``fit``), and bulges are added for nodules that are still outside it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from preprocessing.phantom.distance_fields import Field, capsule, disc, ellipsoid, intersection, superellipse, union

CAVITY_MM = (131.0, 84.0)  # half-axes of the thoracic cavity at scale 1
WALL_MM = (28.0, 30.0)  # ribs, muscle and fat between cavity and skin
TYPICAL_FIELD_MM = 345.0  # in-plane field of view at scale 1
LUNG_HEIGHT_MM = 205.0  # largest distance between dome and apex


@dataclass(frozen=True)
class Site:
    """A nodule as a ball that the lungs must contain: centre (x, y, z) and radius in mm."""

    center: np.ndarray
    radius: float


@dataclass(frozen=True)
class Anatomy:
    """Size and position of one patient.

    Attributes:
        center: (x, y) of the cavity's axis.
        scale: size relative to the template.
        z_dome: height of the right diaphragm's top.
        z_apex: height of the lungs' top.
        heart: size of the heart relative to the template.
        contrast: True with an enhanced blood pool.
        bulges: balls at nodules outside the template, joined to the lungs.
    """

    center: tuple[float, float]
    scale: float
    z_dome: float
    z_apex: float
    heart: float
    contrast: bool
    bulges: tuple[Site, ...] = ()

    @property
    def blood_hu(self) -> float:
        """HU of the blood pool."""
        return 165.0 if self.contrast else 48.0

    def height(self, z: Field) -> Field:
        """0 at the dome, 1 at the apex."""
        return (np.asarray(z, dtype=np.float32) - self.z_dome) / (self.z_apex - self.z_dome)

    def at(self, u: float) -> float:
        """z of a height."""
        return self.z_dome + u * (self.z_apex - self.z_dome)

    def local(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Template coordinates (mm at scale 1) of in-plane positions."""
        return (x - self.center[0]) / self.scale, (y - self.center[1]) / self.scale

    def cavity(self, x: Field, y: Field, z: Field, *, narrowest: float = 0.0) -> Field:
        """The thoracic cavity; ``narrowest`` (share of the full width) keeps it open above the apex (the rib ring)."""
        px, py = self.local(x, y)
        u = self.height(z)
        taper = np.sqrt(np.maximum(1 - np.clip((u - 0.25) / 0.75, 0, None) ** 2.4, 1e-4))
        wide, deep = np.maximum(taper, narrowest), np.maximum(taper**0.8, 0.9 * narrowest)
        lean = 24 * np.clip(u, 0, 1.1) ** 2
        return self.scale * superellipse(px, py - lean, CAVITY_MM[0] * wide, CAVITY_MM[1] * deep, 2.3)

    def front(self, u: float) -> float:
        """Template y of the rib cage's front at a height."""
        taper = max(1 - max((u - 0.25) / 0.75, 0.0) ** 2.4, 1e-4) ** 0.5
        return 24 * min(max(u, 0.0), 1.1) ** 2 - CAVITY_MM[1] * max(taper**0.8, 0.47)

    def body(self, x: Field, y: Field, z: Field) -> Field:
        """Everything under the skin."""
        px, py = self.local(x, y)
        shoulder = np.clip(self.height(z) - 0.6, 0, 0.6)
        a = (CAVITY_MM[0] + WALL_MM[0]) * (1 + 0.3 * shoulder)
        b = (CAVITY_MM[1] + WALL_MM[1]) * (1 - 0.35 * shoulder)
        return self.scale * superellipse(px, py - 3 - 14 * shoulder, a, b, 2.4)

    def heart_field(self, x: Field, y: Field, z: Field) -> Field:
        """The heart: on the diaphragm, to the left and in front."""
        px, py = self.local(x, y)
        dz = (z - self.z_dome) / self.scale - 22
        px, py = px - 20, py + 24
        turned = (px * 0.88 + py * 0.47, -px * 0.47 + py * 0.88)
        size = self.heart
        return self.scale * ellipsoid(*turned, dz, (50 * size, 42 * size, 56 * size))

    def mediastinum(self, x: Field, y: Field, z: Field) -> Field:
        """Everything between the lungs: heart, great vessels, hila, spine and the line where the lungs nearly meet."""
        px, py = self.local(x, y)
        u = self.height(z)
        vessels = superellipse(px - 2, py + 8, 27 - 5 * np.clip(u, 0, 1), 33, 2.2) - 30 * np.clip(0.35 - u, 0, 1)
        spine = union(disc(px, py - 47, 23), superellipse(px, py - 76, 17, 32), 8)
        aorta = disc(px - 23, py - 38, 14.5)
        septum = 4.5 - np.abs(px) - 0 * py
        hila = ellipsoid(np.abs(px) - 30, py - 4, (z - self.at(0.46)) / self.scale, (17, 17, 24))
        parts = union(union(spine, aorta, 8), union(vessels, septum, 12), 10)
        return union(self.scale * union(parts, hila, 12), self.heart_field(x, y, z) + 3, 10)

    def above_diaphragm(self, x: Field, y: Field, z: Field) -> Field:
        """Positive above the two domes, the right one higher, steep towards the wall."""
        px, py = self.local(x, y)
        right = self.z_dome - 13 * ((np.abs(px + 62) / 52) ** 2.4 + (np.abs(py + 8) / 42) ** 2.2)
        left = self.z_dome - 13 - 13 * ((np.abs(px - 64) / 52) ** 2.4 + (np.abs(py + 6) / 42) ** 2.2)
        return (z - np.maximum(right, left)) * 0.7

    def lungs(self, x: Field, y: Field, z: Field) -> Field:
        """Both lungs, with bulges for nodules outside the template."""
        lungs = intersection(self.cavity(x, y, z), -self.mediastinum(x, y, z), 9)
        lungs = intersection(lungs, self.above_diaphragm(x, y, z), 5)
        for bulge in self.bulges:
            radii = (bulge.radius, bulge.radius + 8)
            rod, _ = capsule(x, y, z, bulge.center, self.deep_point(bulge.center), radii)
            lungs = union(lungs, rod, 9)
        return lungs

    def deep_point(self, point: np.ndarray) -> np.ndarray:
        """A position well inside the lung on the point's side and near its height."""
        side = 1.0 if point[0] >= self.center[0] else -1.0
        u = float(np.clip(self.height(point[2]), 0.2, 0.8))
        reach = 72 - 22 * max(u - 0.5, 0)
        return np.array([self.center[0] + side * reach * self.scale, self.center[1] + 18 * self.scale, self.at(u)])


def fit(*, field_mm: float, z_range: tuple[float, float], sites: list[Site], rng: np.random.Generator) -> Anatomy:
    """Choose the anatomy of a patient.

    Args:
        field_mm: in-plane field of view in mm.
        z_range: lowest and highest slice position in mm.
        sites: nodules of the scan.
        rng: random generator for values that the database does not give (heart size, contrast, small differences in
            size).
    """
    low, high = z_range
    length = high - low
    apex = high - (0.04 + 0.02 * rng.random()) * length
    dome = max(low + 0.25 * length, apex - LUNG_HEIGHT_MM * (0.95 + 0.1 * rng.random()))
    size = float(np.clip(field_mm / TYPICAL_FIELD_MM, 0.88, 1.08)) * (0.98 + 0.04 * rng.random())
    start = Anatomy(
        center=(0.0, 0.0),
        scale=size,
        z_dome=dome,
        z_apex=apex,
        heart=0.92 + 0.16 * rng.random(),
        contrast=bool(rng.random() < 0.5),
    )
    return _with_bulges(_placed(start, sites), sites)


def _placed(start: Anatomy, sites: list[Site]) -> Anatomy:
    """The shift and scale that put the nodules deepest into the lungs while staying near the start."""
    if not sites:
        return start
    centers = np.array([site.center for site in sites], dtype=np.float32).T
    wanted = np.array([site.radius + 4 for site in sites], dtype=np.float32)
    best, least = start, np.inf
    for grow, x, y in itertools.product((1.0, 0.94, 1.06, 1.12), np.arange(-24, 25, 6.0), np.arange(-30, 55, 6.0)):
        trial = replace(start, center=(x, y), scale=start.scale * grow)
        outside = np.clip(wanted - trial.lungs(*centers), 0, 40)
        cost = float((outside**2).sum()) + 0.15 * (x * x + 0.6 * y * y) + 8000 * (grow - 1) ** 2
        if cost < least:
            best, least = trial, cost
    return best


def _with_bulges(anatomy: Anatomy, sites: list[Site]) -> Anatomy:
    """Add a bulge for every nodule whose surface leaves the lungs.

    Where the nodule straddles the template's chest wall, the bulge ends inside it, so that it sits on the pleura
    (juxtapleural); elsewhere the bulge leaves 5 mm of lung around it.
    """
    bulges = []
    for site in sites:
        center = np.asarray(site.center, dtype=np.float32)[:, None]
        if anatomy.lungs(*center)[0] < site.radius + 1:
            on_pleura = abs(anatomy.cavity(*center)[0]) < 0.9 * site.radius
            bulges.append(replace(site, radius=0.8 * site.radius if on_pleura else site.radius + 5))
    return replace(anatomy, bulges=tuple(bulges))
