"""Paint a nodule into a scan so that its voxels reflect the readers' ratings.

============================ =======================================================================================
contours                     size and shape: the zero surface of the readers' mean distance field
margin 1-5                   width of the edge: 4.5 mm (poorly defined) to 0.9 mm (sharp)
lobulation 1-5               bulges and furrows of up to a quarter of the radius, of zero mean
spiculation 1-5              0 to 16 tapered spicules of 4 to 12 mm, shorter on nodules of less than 10 mm
texture 1-5                  ground glass (-610 HU) at 1, a solid core that grows with the rating, solid (35 HU) at 5
calcification 1-6            popcorn, laminated, solid, off-centre, central: up to 500-650 HU more; none at 6
internal structure 1-4       soft tissue, fluid, fat, air in the core
malignancy 1-5               mild: 9 HU of enhancement and 4 HU of mottling a step, and a feeding vessel of 0.4-1.2 mm
============================ =======================================================================================

Ordinal ratings enter as the readers' mean. For calcification and internal structure, which are categories, each reader
contributes a share. Sphericity and subtlety follow from the contours and the other ratings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lung_nodule.lidc import CHARACTERISTICS
from preprocessing.lidc.records import NoduleRecord
from preprocessing.phantom.anatomy import Anatomy, Site
from preprocessing.phantom.calcium import calcium
from preprocessing.phantom.distance_fields import Field, capsule, coverage
from preprocessing.phantom.grid import Grid
from preprocessing.phantom.shape import box_of, consensus_field, site_of
from preprocessing.phantom.vessels import Rod, hilum_of, paint_rod

SOLID_HU, GROUND_GLASS_HU, FEEDER_HU = 35.0, -610.0, 40.0
CORE_HU = {2: 8.0, 3: -75.0, 4: -940.0}  # internal structure: fluid, fat, air

Axes = tuple[Field, Field, Field]  # x [1, 1, nx], y [1, ny, 1], z [nz, 1, 1] in mm from the nodule's centre


@dataclass(frozen=True)
class Look:
    """A nodule's ratings: the readers' means, and the share of the readers for each category."""

    mean: dict[str, float]
    calcification: dict[int, float]
    internal_structure: dict[int, float]

    @classmethod
    def of(cls, nodule: NoduleRecord) -> Look:
        """Collect the ratings of a nodule's readers."""
        ratings = [annotation.ratings for annotation in nodule.annotations]
        return cls(
            mean={name: float(np.mean([rating[name] for rating in ratings])) for name in CHARACTERISTICS},
            calcification=_shares(rating["calcification"] for rating in ratings),
            internal_structure=_shares(rating["internal_structure"] for rating in ratings),
        )

    def step(self, name: str) -> float:
        """Mean rating as 0 (rated 1) to 1 (rated 5)."""
        return (self.mean[name] - 1) / 4


def _shares(values: Iterable[int]) -> dict[int, float]:
    counts = Counter(values)
    return {value: count / counts.total() for value, count in sorted(counts.items())}


def paint_nodule(
    volume: np.ndarray, grid: Grid, anatomy: Anatomy, nodule: NoduleRecord, rng: np.random.Generator
) -> None:
    """Paint one nodule (``volume`` int16 [z, y, x] in HU, in place); voxels denser than the nodule are kept."""
    look, site, box = Look.of(nodule), site_of(nodule, grid), box_of(nodule, grid)
    _feed(volume, grid, anatomy, site, look)
    center = site.center.astype(np.float32)
    axes = tuple(axis - at for axis, at in zip(grid.axes(box), center, strict=True))
    surface = ndimage.gaussian_filter(consensus_field(nodule, grid, box), (0.0, 0.7, 0.7))
    deepest = max(float(surface.max()), 0.6 * grid.pixel_mm)
    lobed = surface + _lobes(axes, deepest, look.step("lobulation"), rng)
    edge = min(4.5 - 3.6 * look.step("margin"), 1.6 * deepest + 0.4)
    weight = coverage(lobed, edge)
    np.maximum(weight, _spicules(surface, axes, grid, look.step("spiculation"), rng), out=weight)
    hu = _density(np.clip(lobed / deepest, 0, 1), axes, site.radius, look, rng)
    image = volume[box].astype(np.float32)
    volume[box] = np.rint(np.maximum(image, image + (hu - image) * weight))


def _feed(volume: np.ndarray, grid: Grid, anatomy: Anatomy, site: Site, look: Look) -> None:
    """A vessel from the nodule's surface towards the hilum."""
    way = hilum_of(anatomy, 1.0 if site.center[0] >= anatomy.center[0] else -1.0) - site.center
    length = float(np.linalg.norm(way))
    if length < site.radius + 10:
        return
    way /= length
    radius = min(0.4 + 0.8 * look.step("malignancy"), 0.3 * site.radius)
    stop = min(site.radius + 18.0, 0.9 * length)
    rod = Rod(site.center + 0.9 * site.radius * way, site.center + stop * way, (radius, 0.4))
    paint_rod(volume, grid, rod, FEEDER_HU)


def _lobes(axes: Axes, radius: float, step: float, rng: np.random.Generator) -> Field:
    """Bulges in a few directions with furrows between them, zero on average, in mm."""
    x, y, z = axes
    directions = rng.standard_normal((7, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reach = np.sqrt(x * x + y * y + z * z) + 1e-3
    height = np.max([(d[0] * x + d[1] * y + d[2] * z) / reach for d in directions], axis=0)
    return 0.5 * step * radius * (height - height.mean()) * np.minimum(reach / radius, 1)


def _spicules(surface: Field, axes: Axes, grid: Grid, step: float, rng: np.random.Generator) -> Field:
    """Weight 0..1 of thin rods that radiate from the surface; mostly in-plane, where they are visible."""
    weight = np.zeros(surface.shape, dtype=np.float32)
    count = round(16 * step)
    longest = (4 + 8 * step) * min(1.0, float(surface.max()) / 5)
    phases = 2 * np.pi * (np.arange(count) + 0.7 * rng.random(count)) / max(count, 1)
    for phase, lift, length in zip(phases, rng.normal(0, 0.15, count), rng.uniform(0.7, 1.3, count), strict=True):
        way = np.array([np.cos(phase), np.sin(phase), lift]) / np.hypot(1, lift)
        start = _last_crossing(surface, axes, way)
        stop = start + length * longest
        rod, _ = capsule(*axes, 0.7 * start * way, stop * way, (1.3 + 0.05 * start, 0.4))
        np.maximum(weight, 0.9 * coverage(rod, 1.6 * grid.pixel_mm), out=weight)
    return weight


def _last_crossing(surface: Field, axes: Axes, way: np.ndarray) -> float:
    """Distance in mm from the centre at which a ray last leaves the nodule; 0 if it is never inside."""
    steps = np.arange(0.0, 40.0, 0.4)
    at = [np.interp(steps * d, axis.ravel(), np.arange(axis.size)) for d, axis in zip(way, axes, strict=True)]
    inside = np.nonzero(ndimage.map_coordinates(surface, at[::-1], order=1, mode="nearest") > 0)[0]
    return float(steps[inside[-1]]) if len(inside) else 0.0


def _density(depth: Field, axes: Axes, radius: float, look: Look, rng: np.random.Generator) -> Field:
    """HU of the nodule; ``depth`` runs from 0 at its surface to 1 at its deepest voxel."""
    mottling = ndimage.gaussian_filter(rng.standard_normal(depth.shape, dtype=np.float32), (0.5, 1.5, 1.5))
    mottling *= 4 * look.mean["malignancy"] / float(mottling.std())
    soft = SOLID_HU + 9 * (look.mean["malignancy"] - 3) + mottling
    core = coverage(depth - 1 + 1.3 * look.step("texture") - 0.15, 0.3)
    hu = GROUND_GLASS_HU + 2 * mottling + (soft - GROUND_GLASS_HU - 2 * mottling) * core
    for kind, share in look.internal_structure.items():
        if kind in CORE_HU:
            hu += share * (CORE_HU[kind] - hu) * coverage(depth - 0.5, 0.2)
    for kind, share in look.calcification.items():
        hu += share * calcium(kind, depth, axes, radius, rng)
    return hu
