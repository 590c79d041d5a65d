"""Draw a scan: geometry from the database, voxels from the painting functions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from preprocessing.lidc.records import ContourRecord, NoduleRecord, ScanRecord
from preprocessing.phantom import chest, vessels
from preprocessing.phantom.anatomy import fit
from preprocessing.phantom.grid import SIZE, Grid
from preprocessing.phantom.nodule import paint_nodule
from preprocessing.phantom.noise import NoiseTile
from preprocessing.phantom.shape import site_of

NOISE_HU = 22.0
LOWEST_HU, HIGHEST_HU = -1024, 3071


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn scan.

    Attributes:
        hu: int16 [z, y, x] in -1024..3071, z ascending as the scan's ``slice_positions``.
        corner_mm: (x, y) of the first pixel's centre, so that the body's axis is at x = y = 0.
        orientation: ImageOrientationPatient.
    """

    hu: np.ndarray
    corner_mm: tuple[float, float]
    orientation: tuple[int, ...] = (1, 0, 0, 0, 1, 0)


def draw_scan(scan: ScanRecord, nodules: Sequence[NoduleRecord]) -> Drawing:
    """Draw a scan of the database; the same records always give the same voxels."""
    rng = np.random.default_rng(_seed(scan))
    grid = grid_of(scan)
    sites = [site_of(nodule, grid) for nodule in nodules]
    z_range = (float(grid.z[0]), float(grid.z[-1]))
    anatomy = fit(field_mm=grid.field_mm, z_range=z_range, sites=sites, rng=rng)
    volume = chest.render(grid, anatomy, rng)
    vessels.paint_lungs(volume, grid, anatomy, tuple(sites), rng)
    for nodule in nodules:
        paint_nodule(volume, grid, anatomy, nodule, rng)
    _add_noise(volume, rng)
    first = float(grid.to_mm(0))
    return Drawing(hu=volume, corner_mm=(first - float(anatomy.center[0]), first - float(anatomy.center[1])))


def draw_turned(scan: ScanRecord, nodules: Sequence[NoduleRecord]) -> Drawing:
    """Draw a scan whose pixels are stored turned by 180 degrees in the plane; contours are indices of stored pixels."""
    upright = draw_scan(scan, [_turned(nodule) for nodule in nodules])
    x, y = (mm + (SIZE - 1) * scan.pixel_spacing_mm for mm in upright.corner_mm)
    return Drawing(hu=upright.hu[:, ::-1, ::-1], corner_mm=(x, y), orientation=(-1, 0, 0, 0, -1, 0))


def _turned(nodule: NoduleRecord) -> NoduleRecord:
    def turn(contour: ContourRecord) -> ContourRecord:
        return replace(contour, points=SIZE - 1 - contour.points)

    annotations = (replace(each, contours=tuple(map(turn, each.contours))) for each in nodule.annotations)
    return replace(nodule, annotations=tuple(annotations))


def grid_of(scan: ScanRecord) -> Grid:
    """The voxel grid of a scan, from the database."""
    return Grid(pixel_mm=scan.pixel_spacing_mm, z=scan.slice_positions, slice_mm=scan.slice_thickness_mm)


def _seed(scan: ScanRecord) -> int:
    name = f"{scan.patient_id} {scan.series_uid}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _add_noise(volume: np.ndarray, rng: np.random.Generator) -> None:
    """Scanner noise, band-limited in-plane and independent from slice to slice, in place."""
    tile = NoiseTile(rng, size=768, blur_pixels=0.75)
    for image in volume:
        noisy = image + NOISE_HU * tile.crop(rng, image.shape)
        image[:] = np.clip(np.rint(noisy), LOWEST_HU, HIGHEST_HU)
