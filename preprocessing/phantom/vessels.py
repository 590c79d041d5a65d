"""Vascular trees of the lungs and the first airways, painted rod by rod into the volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocessing.phantom.anatomy import Anatomy, Site
from preprocessing.phantom.distance_fields import capsule, coverage
from preprocessing.phantom.grid import Grid

VESSEL_HU, LUMEN_HU, WALL_HU = 45.0, -985.0, -60.0
BACKGROUND_HU = -868.0
LEAVES = 420  # ends of one tree
THINNEST_MM = 0.62
MURRAY = 1 / 2.7  # a branch's radius grows with this power of the number of its ends


@dataclass(frozen=True, eq=False)
class Rod:
    """A piece of a tube: its ends (x, y, z) in mm and the radius at each."""

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]


def paint_rod(volume: np.ndarray, grid: Grid, rod: Rod, hu: float) -> None:
    """Paint a dense rod into lung (``volume`` int16 [z, y, x] in HU, in place), averaged over the slice thickness."""
    half = grid.slice_mm / 2
    blur = 0.7 * grid.pixel_mm
    block = _block(grid, rod, margin=blur, margin_z=half)
    if block is None:
        return
    x, y, z = grid.axes(block)
    low, high = sorted((rod.start[2], rod.end[2]))
    near = z - np.clip(z, low, high)
    z = z - np.sign(near) * np.minimum(np.abs(near), half)
    field, _ = capsule(x, y, z, rod.start, rod.end, rod.radii)
    axis = rod.end - rod.start
    lying = np.hypot(axis[0], axis[1]) / (np.linalg.norm(axis) + 1e-6)
    thick = 2 * max(rod.radii)
    share = min(1.0, thick / (lying * grid.slice_mm + (1 - lying) * thick) * 1.5)
    painted = BACKGROUND_HU + (hu - BACKGROUND_HU) * share * coverage(field, 2 * blur)
    np.maximum(volume[block], painted.astype(np.int16), out=volume[block])


def paint_airway(volume: np.ndarray, grid: Grid, rod: Rod) -> None:
    """Paint an air-filled tube with a thin wall (``volume`` in place)."""
    wall = 0.5 + 0.14 * max(rod.radii)
    block = _block(grid, rod, margin=wall + grid.pixel_mm, margin_z=grid.slice_mm / 2)
    if block is None:
        return
    field, _ = capsule(*grid.axes(block), rod.start, rod.end, rod.radii)
    image = volume[block].astype(np.float32)
    outer, lumen = coverage(field + wall, 2 * grid.pixel_mm), coverage(field, 2 * grid.pixel_mm)
    image = np.maximum(image, image + (WALL_HU - image) * outer)
    volume[block] = np.rint(image + (LUMEN_HU - image) * lumen)


def _block(grid: Grid, rod: Rod, *, margin: float, margin_z: float) -> tuple[slice, slice, slice] | None:
    reach = max(rod.radii) + np.array([margin, margin, margin_z])
    return grid.box(np.minimum(rod.start, rod.end) - reach, np.maximum(rod.start, rod.end) + reach)


def grow(root: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> list[Rod]:
    """A tree from ``root`` (mm) to every point of ``ends`` [n, 3]: halve the ends recursively."""
    rods: list[Rod] = []
    pending = [(root, _radius(len(ends)), ends)]
    while pending:
        start, radius, points = pending.pop()
        if len(points) == 1:
            rods.append(Rod(start, points[0], (radius, 0.7 * THINNEST_MM)))
            continue
        centre = points.mean(0)
        step = (0.3 + 0.2 * rng.random()) * (centre - start)
        fork = start + step + 0.12 * np.linalg.norm(step) * rng.standard_normal(3)
        rods.append(Rod(start, fork, (radius, _radius(len(points)))))
        widest = points.var(axis=0).argmax()
        order = np.argsort(points[:, widest], kind="stable")
        cut = max(1, int(len(points) * (0.35 + 0.3 * rng.random())))
        for half in (order[:cut], order[cut:]):
            pending.append((fork, _radius(len(half)), points[half]))
    return rods


def _radius(ends: int) -> float:
    return THINNEST_MM * ends**MURRAY


def paint_lungs(
    volume: np.ndarray, grid: Grid, anatomy: Anatomy, sites: tuple[Site, ...], rng: np.random.Generator
) -> None:
    """Paint arteries, veins and airways of both lungs (``volume`` int16 [z, y, x] in HU, in place).

    Args:
        sites: sites of the nodules, which the trees avoid.
    """
    hu = VESSEL_HU + 0.5 * (anatomy.blood_hu - 48)
    airways = _windpipe(anatomy)
    for side in (-1.0, 1.0):
        for drift in (0.0, -0.09):
            hilum = hilum_of(anatomy, side) + np.array([0.0, 6.0, 0.0]) * (1 if drift else -1)
            hilum[2] = anatomy.at(0.47 + drift)
            rods = grow(hilum, _ends(anatomy, side, rng), rng)
            for rod in rods:
                if _is_free(rod, sites):
                    paint_rod(volume, grid, rod, hu)
            if drift == 0.0:
                bronchi = [_beside(rod) for rod in rods if min(rod.radii) > 1.6]
                airways += [rod for rod in bronchi if _in_lungs(rod, anatomy)]
    for rod in airways:
        if _is_free(rod, sites):
            paint_airway(volume, grid, rod)


def hilum_of(anatomy: Anatomy, side: float) -> np.ndarray:
    """Root of the trees of a lung, in mm; ``side`` is -1 (patient's right) or 1."""
    px, py = 34.0 * side, 5.0
    x, y = px * anatomy.scale + anatomy.center[0], py * anatomy.scale + anatomy.center[1]
    return np.array([x, y, anatomy.at(0.47)])


def _ends(anatomy: Anatomy, side: float, rng: np.random.Generator) -> np.ndarray:
    """Points [LEAVES, 3] spread over one lung."""
    low = np.array([8.0 if side > 0 else -135.0, -90.0, 0.0])
    high = np.array([135.0 if side > 0 else -8.0, 100.0, 0.0])
    points = low + rng.random((8 * LEAVES, 3)) * (high - low)
    points[:, :2] = points[:, :2] * anatomy.scale + anatomy.center
    points[:, 2] = anatomy.at(-0.3) + rng.random(len(points)) * (anatomy.at(1.0) - anatomy.at(-0.3))
    inside = anatomy.lungs(*points.astype(np.float32).T) > 3
    return points[inside][:LEAVES]


def _windpipe(anatomy: Anatomy) -> list[Rod]:
    def place(px: float, py: float, u: float) -> np.ndarray:
        x, y = np.array([px, py]) * anatomy.scale + anatomy.center
        return np.array([x, y, anatomy.at(u)])

    carina = place(0, 8, 0.57)
    right, left = place(-30, 6, 0.47), place(34, 8, 0.46)
    return [
        Rod(place(0, 2, 1.25), carina, (8.5, 8.0)),
        Rod(carina, right, (7.0, 5.5)),
        Rod(carina, left, (6.5, 5.0)),
        Rod(right, place(-44, 12, 0.36), (5.0, 3.5)),
        Rod(left, place(46, 14, 0.36), (4.8, 3.3)),
    ]


def _beside(rod: Rod) -> Rod:
    """The bronchus next to an artery."""
    shift = np.array([0.6, 0.8, 0.0]) * (1.9 * max(rod.radii) + 0.8)
    return Rod(rod.start + shift, rod.end + shift, (0.75 * rod.radii[0], 0.75 * rod.radii[1]))


def _in_lungs(rod: Rod, anatomy: Anatomy) -> bool:
    ends = np.array([rod.start, rod.end], dtype=np.float32).T
    return bool((anatomy.lungs(*ends) > max(rod.radii)).all())


def _is_free(rod: Rod, sites: tuple[Site, ...]) -> bool:
    """Whether the rod is at least 1 mm away from every nodule."""
    for site in sites:
        x, y, z = (np.float32(value) for value in site.center)
        field, _ = capsule(x, y, z, rod.start, rod.end, rod.radii)
        if field > -(site.radius + 1.0):
            return False
    return True
