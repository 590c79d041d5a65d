"""A painted nodule reflects the readers' contours and ratings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from preprocessing.lidc.records import AnnotationRecord, ContourRecord, NoduleRecord
from preprocessing.phantom.anatomy import Anatomy, fit
from preprocessing.phantom.grid import Grid
from preprocessing.phantom.nodule import paint_nodule
from preprocessing.phantom.shape import box_of, site_of

LUNG_HU = -865
GRID = Grid(pixel_mm=0.7, z=np.arange(0.0, 100.0, 2.5), slice_mm=2.5)
CENTER = np.array([150.0, 250.0, 50.0])  # column, row, z in mm
PLAIN = {
    "subtlety": 5,
    "internal_structure": 1,
    "calcification": 6,
    "sphericity": 5,
    "margin": 5,
    "lobulation": 1,
    "spiculation": 1,
    "texture": 5,
    "malignancy": 3,
}


def reader(radius: float, **ratings: int) -> AnnotationRecord:
    """A reader who outlined a ball of ``radius`` mm, on the first pixels outside it as LIDC's readers did."""
    contours = []
    for z in GRID.z:
        half = radius**2 - (z - CENTER[2]) ** 2
        if half <= 0:
            continue
        angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
        circle = (np.sqrt(half) / GRID.pixel_mm + 0.5) * np.c_[np.cos(angle), np.sin(angle)]
        points = np.rint(CENTER[:2] + circle)
        keep = np.r_[True, (np.diff(points, axis=0) != 0).any(axis=1)]
        contours.append(ContourRecord(z=float(z), inclusion=True, points=points[keep]))
    return AnnotationRecord(
        annotation_id=1,
        ratings=PLAIN | ratings,
        contours=tuple(contours),
        diameter_mm=2 * radius,
        contour_volume_mm3=4 / 3 * np.pi * radius**3,
    )


def nodule_of(*readers: AnnotationRecord) -> NoduleRecord:
    return NoduleRecord(nodule_id="LIDC-IDRI-0000_a0001", patient_id="LIDC-IDRI-0000", annotations=readers)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return fit(field_mm=GRID.field_mm, z_range=(0.0, 97.5), sites=[], rng=np.random.default_rng(0))


def paint(anatomy: Anatomy, nodule: NoduleRecord) -> np.ndarray:
    """The nodule's surroundings [z, y, x] in HU, painted into even lung without noise."""
    volume = np.full(GRID.shape, LUNG_HU, dtype=np.int16)
    paint_nodule(volume, GRID, anatomy, nodule, np.random.default_rng(3))
    return volume[box_of(nodule, GRID)].astype(np.float64)


def ball(nodule: NoduleRecord) -> np.ndarray:
    """Distance in mm from the ball's centre of the voxels that ``paint`` returns."""
    x, y, z = GRID.axes(box_of(nodule, GRID))
    cx, cy = GRID.to_mm(CENTER[:2])
    return np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - CENTER[2]) ** 2)


def core_hu(anatomy: Anatomy, *, radius: float = 8.0, **ratings: int) -> float:
    """Mean HU of the inner half of a ball."""
    nodule = nodule_of(reader(radius, **ratings))
    return float(paint(anatomy, nodule)[ball(nodule) < radius / 2].mean())


@pytest.mark.parametrize("radius", [3.0, 5.0, 8.0, 13.0])
def test_diameter_can_be_measured_back(anatomy: Anatomy, radius: float) -> None:
    image = paint(anatomy, nodule_of(reader(radius)))
    areas = (image > (35 + LUNG_HU) / 2).sum(axis=(1, 2)) * GRID.pixel_mm**2
    diameter = 2 * np.sqrt(areas.max() / np.pi)
    assert diameter == pytest.approx(2 * radius, abs=2 * GRID.pixel_mm)


def test_volume_can_be_measured_back(anatomy: Anatomy) -> None:
    image = paint(anatomy, nodule_of(reader(10.0)))
    volume = (image > (35 + LUNG_HU) / 2).sum() * GRID.pixel_mm**2 * 2.5
    assert volume == pytest.approx(4 / 3 * np.pi * 10.0**3, rel=0.15)


def test_size_lies_between_the_readers(anatomy: Anatomy) -> None:
    both, small, large = (
        (paint(anatomy, nodule_of(*readers)) > -400).sum()
        for readers in ([reader(5.0), reader(5.0), reader(8.0)], [reader(5.0)], [reader(8.0)])
    )
    assert small < both < large


def test_nodule_without_interior_pixels_is_still_seen(anatomy: Anatomy) -> None:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) + CENTER[:2]
    tiny = replace(reader(1.0), contours=(ContourRecord(z=50.0, inclusion=True, points=corners),), diameter_mm=1.0)
    assert paint(anatomy, nodule_of(tiny)).max() > -400


def test_readers_who_agree_nowhere_still_leave_a_nodule(anatomy: Anatomy) -> None:
    left = reader(4.0)
    moved = tuple(replace(contour, points=contour.points + np.array([14.0, 0.0])) for contour in left.contours)
    right = replace(left, contours=moved)
    nodule = nodule_of(left, left, right, right)
    assert paint(anatomy, nodule)[ball(nodule) < 1.5].mean() > -500


def test_exclusion_contour_opens_a_hole(anatomy: Anatomy) -> None:
    outer, inner = reader(10.0), reader(5.0)
    hole = tuple(replace(contour, inclusion=False) for contour in inner.contours)
    hollow = nodule_of(replace(outer, contours=outer.contours + hole))
    assert paint(anatomy, hollow)[ball(hollow) < 2].mean() < -600


def test_texture_sets_the_density(anatomy: Anatomy) -> None:
    density = [core_hu(anatomy, texture=rating) for rating in (1, 2, 3, 4, 5)]
    assert density == sorted(density)
    assert -700 < density[0] < -500
    assert -20 < density[-1] < 90


def test_part_solid_nodule_has_a_solid_core_in_ground_glass(anatomy: Anatomy) -> None:
    nodule = nodule_of(reader(10.0, texture=3))
    image, distance = paint(anatomy, nodule), ball(nodule)
    assert image[distance < 2].mean() > -100
    assert -750 < image[(distance > 7.5) & (distance < 9)].mean() < -450


@pytest.mark.parametrize(("kind", "least"), [(1, 15), (2, 150), (3, 150), (4, 15), (5, 100)])
def test_calcification_is_bright(anatomy: Anatomy, kind: int, least: float) -> None:
    plain = nodule_of(reader(8.0))
    assert paint(anatomy, plain).max() < 200
    bright = paint(anatomy, nodule_of(reader(8.0, calcification=kind))) > 250
    assert bright.sum() * GRID.pixel_mm**2 * 2.5 > least
    assert not bright[ball(plain) > 9].any()


def test_central_calcification_is_central_and_smaller_than_solid(anatomy: Anatomy) -> None:
    nodule = nodule_of(reader(8.0, calcification=5))
    central, solid = paint(anatomy, nodule) > 250, paint(anatomy, nodule_of(reader(8.0, calcification=3))) > 250
    assert central[ball(nodule) < 2].all()
    assert central.sum() < 0.7 * solid.sum()


def test_each_reader_adds_a_share_of_the_calcium(anatomy: Anatomy) -> None:
    none, one, two = (
        paint(anatomy, nodule_of(*(reader(8.0, calcification=kind) for kind in kinds))).max()
        for kinds in ((6, 6), (3, 6), (3, 3))
    )
    assert one == pytest.approx((none + two) / 2, abs=60)


def test_spiculation_radiates_beyond_the_surface(anatomy: Anatomy) -> None:
    reach = []
    for rating in (1, 3, 5):
        nodule = nodule_of(reader(8.0, spiculation=rating, malignancy=1))
        outside = (ball(nodule) > 10) & (paint(anatomy, nodule) > -650)
        reach.append(int(outside.sum()))
    assert reach[0] < reach[1] < reach[2]
    assert reach[2] > 5 * max(reach[0], 10)


def test_lobulation_makes_the_outline_uneven_and_keeps_the_size(anatomy: Anatomy) -> None:
    def radii(rating: int) -> tuple[float, int]:
        nodule = nodule_of(reader(10.0, lobulation=rating))
        inside, distance = paint(anatomy, nodule) > -400, ball(nodule)
        rim = inside & (distance > 6)
        return float(distance[rim & (distance > np.quantile(distance[rim], 0.9))].mean()), int(inside.sum())

    (round_reach, round_size), (lobed_reach, lobed_size) = radii(1), radii(5)
    assert lobed_reach > round_reach + 0.4
    assert lobed_size == pytest.approx(round_size, rel=0.2)


def test_poor_margin_is_a_wide_edge(anatomy: Anatomy) -> None:
    widths = []
    for rating in (5, 3, 1):
        image = paint(anatomy, nodule_of(reader(10.0, margin=rating)))
        widths.append(int(((image > -700) & (image < -150)).sum()))
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize(("kind", "low", "high"), [(1, 0, 90), (2, -20, 40), (3, -110, -40), (4, -1000, -800)])
def test_internal_structure_fills_the_core(anatomy: Anatomy, kind: int, low: float, high: float) -> None:
    nodule = nodule_of(reader(10.0, internal_structure=kind))
    assert low < paint(anatomy, nodule)[ball(nodule) < 2].mean() < high


def test_malignancy_shows_mildly(anatomy: Anatomy) -> None:
    low, high = core_hu(anatomy, malignancy=1), core_hu(anatomy, malignancy=5)
    assert 20 < high - low < 60


def test_denser_tissue_stays(anatomy: Anatomy) -> None:
    volume = np.full(GRID.shape, 300, dtype=np.int16)
    paint_nodule(volume, GRID, anatomy, nodule_of(reader(6.0, texture=1)), np.random.default_rng(0))
    assert (volume == 300).all()


def test_site_is_the_centre_and_half_the_diameter() -> None:
    site = site_of(nodule_of(reader(6.0), reader(8.0)), GRID)
    assert site.radius == pytest.approx(7.0)
    assert site.center == pytest.approx([*GRID.to_mm(CENTER[:2]), CENTER[2]], abs=0.3)
