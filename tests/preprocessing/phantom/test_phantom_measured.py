"""The ratings of real nodules, measured back from the voxels that the phantom draws for them; nothing is trained."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from lung_nodule.holdout import holdout_patients
from preprocessing.lidc import database
from preprocessing.lidc.records import NoduleRecord, ScanRecord
from preprocessing.phantom.anatomy import fit
from preprocessing.phantom.drawing import NOISE_HU
from preprocessing.phantom.grid import Grid
from preprocessing.phantom.nodule import paint_nodule
from preprocessing.phantom.noise import NoiseTile
from preprocessing.phantom.shape import box_of, site_of

pytestmark = pytest.mark.slow

LUNG_HU = -865.0
ROOM_MM = 30.0
# Nodules of at most 26 mm with three readers or more outside the hold-out: every so-manieth of each kind, by the means
# of their readers' ratings and the share of the readers who saw calcium.
KINDS = {
    "texture <= 2": "0088_a0809 0179_a1485 0179_a1488 0298_a2178 0304_a2237 0402_a2897 0402_a2902 0429_a3100 0476_a3465"
    " 0507_a3718 0660_a6668 0777_a5919",
    "2 < texture < 4": "0008_a0129 0103_a0895 0270_a2064 0352_a2541 0435_a3143 0496_a3659 0530_a3858 0590_a4192"
    " 0676_a6581 0777_a5921 0846_a5527 0936_a4915",
    "spiculation >= 3.5": "0015_a0218 0037_a0348 0069_a0014 0069_a0016 0108_a0923 0111_a0934 0111_a0935 0117_a0967"
    " 0148_a1282 0186_a1571 0332_a2389 0334_a2406",
    "2 <= spiculation < 3.5": "0006_a0117 0055_a0572 0084_a0787 0145_a1256 0169_a1432 0276_a2087 0341_a2466 0420_a3059"
    " 0509_a3733 0655_a6705 0701_a6446 0816_a5706",
    "calcium by 3 of 4": "0039_a0356 0118_a0973 0215_a1770 0346_a2501 0426_a3084 0440_a3193 0530_a3859 0641_a6828"
    " 0649_a6753 0726_a6291 0843_a5547 0912_a5046",
    "solid, smooth, no calcium": "0003_a0092 0049_a0500 0111_a0933 0129_a1080 0141_a1210 0168_a1425 0229_a1840"
    " 0282_a2110 0335_a2428 0398_a2859 0434_a3132 0476_a3467 0510_a3749 0556_a3972 0613_a4329 0661_a6657 0732_a6270"
    " 0809_a5743 0851_a5489 0912_a5048",
}


@dataclass(frozen=True)
class Measured:
    """What a nodule's readers said (means) and what its voxels show.

    Attributes:
        diameter_mm, texture, spiculation: the readers' means; calcified: share who saw calcium.
        width_mm: diameter of a disc of the largest slice; core_hu: median HU of the inner part; bright_mm3: volume
            above 200 HU; rays_hu: how unevenly the tissue 2-6 mm outside the surface is lit at one distance from it.
    """

    diameter_mm: float
    texture: float
    spiculation: float
    calcified: float
    width_mm: float
    core_hu: float
    bright_mm3: float
    rays_hu: float


@functools.cache
def noise() -> NoiseTile:
    """The scanner's noise as ``draw_scan`` adds it."""
    return NoiseTile(np.random.default_rng(0), size=768, blur_pixels=0.75)


def drawn(scan: ScanRecord, nodule: NoduleRecord) -> tuple[np.ndarray, tuple[float, float, float], tuple[int, ...]]:
    """The nodule in even lung with the scanner's noise: HU [z, y, x], spacing (z, y, x) in mm, centre voxel."""
    levels = [contour.z for annotation in nodule.annotations for contour in annotation.contours]
    near = (scan.slice_positions > min(levels) - ROOM_MM) & (scan.slice_positions < max(levels) + ROOM_MM)
    grid = Grid(pixel_mm=scan.pixel_spacing_mm, z=scan.slice_positions[near], slice_mm=scan.slice_thickness_mm)
    rng = np.random.default_rng(nodule.annotations[0].annotation_id)
    ends = (float(scan.slice_positions[0]), float(scan.slice_positions[-1]))
    anatomy = fit(field_mm=grid.field_mm, z_range=ends, sites=[], rng=rng)
    volume = np.full(grid.shape, LUNG_HU, dtype=np.int16)
    paint_nodule(volume, grid, anatomy, nodule, rng)
    box, center = box_of(nodule, grid), site_of(nodule, grid).center
    image = np.stack([plane + NOISE_HU * noise().crop(rng, plane.shape) for plane in volume[box]])
    column, row = grid.to_index(center[:2])
    k = int(np.abs(grid.z - center[2]).argmin())
    at = (k - box[0].start, round(float(row)) - box[1].start, round(float(column)) - box[2].start)
    return image, (grid.spacing_z, grid.pixel_mm, grid.pixel_mm), at


def segmented(image: np.ndarray, at: tuple[int, ...], threshold: float, spacing: tuple[float, ...]) -> np.ndarray:
    """The largest component above a threshold (of the smoothed image) that comes within 7 mm of the centre."""
    above = ndimage.gaussian_filter(image, (0.4, 1.2, 1.2)) > threshold
    above = ndimage.binary_opening(above, np.ones((1, 3, 3)))
    labels, _ = ndimage.label(above)
    places = np.argwhere(above)
    near = np.linalg.norm((places - np.array(at)) * spacing, axis=1) < 7
    candidates = np.unique(labels[tuple(places[near].T)])
    if not len(candidates):
        return above & False
    return labels == max(candidates, key=lambda label: int((labels == label).sum()))


def measure(scan: ScanRecord, nodule: NoduleRecord) -> Measured:
    """Measure a drawn nodule with a threshold half-way between lung and the nodule's own density."""
    image, spacing, at = drawn(scan, nodule)
    smooth = ndimage.gaussian_filter(image, (0, 1, 1))
    rough = segmented(image, at, -740, spacing)
    top = float(np.quantile(smooth[rough], 0.8)) if rough.any() else LUNG_HU + 200
    body = segmented(image, at, 0.5 * (LUNG_HU + min(top, 60.0)), spacing)
    voxel = float(np.prod(spacing))
    depth = ndimage.distance_transform_edt(body, sampling=spacing)
    ratings = [annotation.ratings for annotation in nodule.annotations]
    return Measured(
        diameter_mm=float(np.mean([annotation.diameter_mm for annotation in nodule.annotations])),
        texture=float(np.mean([rating["texture"] for rating in ratings])),
        spiculation=float(np.mean([rating["spiculation"] for rating in ratings])),
        calcified=float(np.mean([rating["calcification"] < 6 for rating in ratings])),
        width_mm=_width(body, spacing[1]),
        core_hu=float(np.median(image[body & (depth >= 0.4 * depth.max())])) if body.any() else LUNG_HU,
        bright_mm3=float((smooth[body] > 200).sum() * voxel),
        rays_hu=_rays(smooth, body, spacing),
    )


def _width(body: np.ndarray, pixel_mm: float) -> float:
    """Diameter of a disc of the body's largest area on a slice."""
    return float(2 * np.sqrt(body.sum(axis=(1, 2)).max() / np.pi)) * pixel_mm


def _rays(smooth: np.ndarray, body: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """Mean over distances of the spread (90th percentile over median) of HU around the body without its spikes."""
    kept = np.flatnonzero(body.any(axis=(1, 2)))
    plane_spacing = spacing[1:]
    rays = []
    for plane, image in zip(body[kept], smooth[kept], strict=True):
        inner = ndimage.distance_transform_edt(plane, sampling=plane_spacing)
        core = inner > 0.4 * inner.max()
        away = ndimage.distance_transform_edt(~core, sampling=plane_spacing) - 0.4 * inner.max()
        for low in (2.0, 3.0, 4.0, 5.0):
            ring = image[(away >= low) & (away < low + 1)]
            if len(ring) > 20:
                rays.append(np.quantile(ring, 0.9) - np.median(ring))
    return float(np.mean(rays)) if rays else 0.0


@pytest.fixture(scope="module")
def nodules() -> list[Measured]:
    """All nodules of KINDS, drawn and measured."""
    wanted = {f"LIDC-IDRI-{number}" for numbers in KINDS.values() for number in numbers.split()}
    assert not {name[:14] for name in wanted} & holdout_patients()
    found = [
        measure(scan, nodule)
        for scan in database.scans(sorted({name[:14] for name in wanted}))
        for nodule in database.nodules(scan)
        if nodule.nodule_id in wanted
    ]
    assert len(found) == len(wanted)
    return found


def column(nodules: list[Measured], name: str) -> np.ndarray:
    return np.array([getattr(nodule, name) for nodule in nodules])


def test_diameter(nodules: list[Measured]) -> None:
    rated, seen = column(nodules, "diameter_mm"), column(nodules, "width_mm")
    assert spearmanr(rated, seen).statistic > 0.85
    assert 0.65 < np.median(seen / rated) < 1.05  # a disc of equal area is narrower than the largest extent


def test_density(nodules: list[Measured]) -> None:
    rated, seen = column(nodules, "texture"), column(nodules, "core_hu")
    glass, solid = rated <= 2, rated >= 4.5
    assert roc_auc_score(solid[glass | solid], seen[glass | solid]) > 0.95
    assert np.median(seen[glass]) < -500
    assert np.median(seen[solid]) > -50
    assert spearmanr(rated, seen).statistic > 0.55


def test_calcification(nodules: list[Measured]) -> None:
    rated, seen = column(nodules, "calcified"), column(nodules, "bright_mm3")
    with_calcium, without = rated >= 0.75, rated == 0
    assert (seen[without] == 0).all()
    assert (seen[with_calcium] > 4).all()


def test_spiculation(nodules: list[Measured]) -> None:
    """Spicules grow with the nodule, so those of less than 8 mm hardly have any."""
    large = column(nodules, "diameter_mm") > 8
    rated, seen = column(nodules, "spiculation")[large], column(nodules, "rays_hu")[large]
    assert spearmanr(rated, seen).statistic > 0.5
    smooth, spiculated = rated < 1.5, rated >= 3
    assert roc_auc_score(spiculated[smooth | spiculated], seen[smooth | spiculated]) > 0.85
