"""Measurements against shapes and textures with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lung_nodule.benchmark.dataset import read_dataset
from lung_nodule.benchmark.measurements.intensity_measurements import histogram_measurements, margin_measurements
from lung_nodule.benchmark.measurements.nodule_measurements import VERSION, measure_nodules, radiomics
from lung_nodule.benchmark.measurements.plain_masks import against_the_others, region_grown, threshold_at_center
from lung_nodule.benchmark.measurements.shape import shape_measurements
from lung_nodule.benchmark.measurements.texture import texture_measurements

SPACING = np.array([0.5, 0.5, 1.0])


def ellipsoid(radii: tuple[float, float, float], shape: tuple[int, int, int] = (60, 60, 40)) -> np.ndarray:
    grid = (np.indices(shape).T - (np.array(shape) - 1) / 2) * SPACING
    return ((grid / radii) ** 2).sum(axis=-1).T <= 1


def test_a_balls_shape() -> None:
    got = shape_measurements(ellipsoid((8, 8, 8)), SPACING)
    volume = 4 / 3 * np.pi * 8**3
    assert np.exp(got["log_volume"]) == pytest.approx(volume, rel=0.02)
    assert np.exp(got["log_surface"]) == pytest.approx(4 * np.pi * 64, rel=0.15)  # steps count
    assert got["sphericity_3d"] == pytest.approx(1, abs=0.15)
    assert got["diameter_3d"] == pytest.approx(16, abs=1)
    assert got["axis_major"] == pytest.approx(8 * 4 / np.sqrt(5), rel=0.03)
    assert got["radial_variation"] == pytest.approx(np.sqrt(3 / 5 - 9 / 16) / (3 / 4), rel=0.05)
    assert got["slice_circularity"] == pytest.approx(1, abs=0.12)
    assert got["slice_eccentricity"] < 0.1


def test_a_long_nodule_is_elongated() -> None:
    ball, long = (shape_measurements(ellipsoid(radii), SPACING) for radii in ((6, 6, 6), (12, 6, 4)))
    assert long["elongation"] == pytest.approx(0.5, abs=0.05)
    assert long["flatness"] == pytest.approx(1 / 3, abs=0.05)
    assert long["sphericity_3d"] < ball["sphericity_3d"]
    assert long["slice_eccentricity"] == pytest.approx(np.sqrt(1 - 0.25), abs=0.05)


def test_a_histograms_shares_and_entropy() -> None:
    got = histogram_measurements(np.array([-800] * 25 + [0] * 50 + [400] * 25))
    assert got["calcified"] == 0.25
    assert got["ground_glass"] == 0.25
    assert got["hu_50"] == 0
    assert got["hu_entropy"] == pytest.approx(1.5)
    assert histogram_measurements(np.full(9, 30))["hu_skewness"] == 0


def test_a_sharp_border_has_a_steeper_profile() -> None:
    mask = ellipsoid((8, 8, 8))
    distance = np.linalg.norm((np.indices(mask.shape).T - (np.array(mask.shape) - 1) / 2) * SPACING, axis=-1).T - 8
    sharp, soft = (margin_measurements(-400 - 450 * np.tanh(distance / width), mask, SPACING) for width in (0.3, 4))
    assert sharp["edge"] > 1.8 * soft["edge"]
    assert sharp["gradient_mean"] > soft["gradient_mean"]
    assert sharp["shell_near"] == pytest.approx(-850, abs=5)
    assert sharp["surroundings_dense"] == 0


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.7, 0.7, 2.5), (1.0, 1.0, 1.0)])
def test_the_gradient_is_in_hu_per_mm(spacing: tuple[float, float, float]) -> None:
    """A ramp of 3, 4 and 0 HU/mm along the axes rises by 5 HU/mm, whatever the voxels."""
    step = np.array(spacing)
    at = np.indices((24, 24, 24)) * step[:, None, None, None]
    mask = np.zeros((24, 24, 24), dtype=bool)
    mask[10:14, 10:14, 10:14] = True
    got = margin_measurements(3 * at[0] + 4 * at[1], mask, step)
    assert got["gradient_mean"] == pytest.approx(5, rel=1e-3)


def test_a_crop_that_ends_with_the_nodule_has_no_surroundings() -> None:
    whole = np.ones((6, 6, 6), dtype=bool)
    got = radiomics(np.zeros(whole.shape), whole, SPACING)
    assert np.isnan(got["shell_near"])
    assert np.isfinite(got["log_volume"])


def test_texture_counts_pairs_within_the_mask_alone() -> None:
    """Stripes of two grey levels: along them equal, across and diagonally different; outside does not count."""
    ct = np.full((6, 6, 1), 300.0)
    mask = np.zeros(ct.shape, dtype=bool)
    mask[1:5, 1:5] = True
    ct[1:5:2, 1:5] = -900.0
    got = texture_measurements(ct, mask)
    along, across, diagonal = 12, 12, 18
    step = int(1300 / 1400 * 16) - int(100 / 1400 * 16)
    assert got["texture_dissimilarity"] == pytest.approx(step * (across + diagonal) / (along + across + diagonal))
    assert texture_measurements(np.zeros((6, 6, 1)), mask)["texture_entropy"] == 0


def test_one_voxel_is_measured() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, 4] = True
    got = radiomics(np.where(mask, 50.0, -800.0), mask, SPACING)
    assert got["diameter_3d"] == 0
    assert np.isnan(got["texture_contrast"])
    assert np.exp(got["log_volume"]) == pytest.approx(0.25)


def test_region_growing_cuts_a_vessel_that_the_threshold_keeps() -> None:
    nodule = ellipsoid((6, 6, 6))
    vessel = np.zeros_like(nodule)
    vessel[:, 29:31, 19:21] = True
    ct = np.where(nodule | vessel, 40, -850)
    center = (np.array(nodule.shape) - 1) / 2
    whole, grown = (f(ct, center, SPACING) for f in (threshold_at_center, region_grown))
    np.testing.assert_array_equal(whole, nodule | vessel)
    assert (grown & vessel & ~nodule).sum() < 0.2 * (vessel & ~nodule).sum()
    assert (grown & nodule).sum() > 0.9 * nodule.sum()


def test_a_reader_is_compared_with_the_others_consensus() -> None:
    readers = np.zeros((4, 1, 1, 3), dtype=bool)
    readers[:3, 0, 0, 0] = readers[:2, 0, 0, 1] = readers[:1, 0, 0, 2] = True
    pairs = against_the_others(readers)
    assert [int(own.sum()) for own, _ in pairs] == [3, 2, 1]
    assert [int(rest.sum()) for _, rest in pairs] == [2, 3, 3]
    assert against_the_others(readers[..., :1]) == []


def test_measured_once(painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = read_dataset(painted, range(5))
    first = measure_nodules(dataset.items[:5], out=tmp_path, fingerprint="f")
    monkeypatch.setattr("lung_nodule.benchmark.measurements.nodule_measurements.measure_nodule", None)
    again = measure_nodules(dataset.items[4::-1], out=tmp_path, fingerprint="f")
    assert again["nodule_id"].tolist() == first["nodule_id"].tolist()[::-1]
    np.testing.assert_allclose(again["radiomics_hu_std"], first["radiomics_hu_std"][::-1])
    assert (tmp_path / f"measurements_f_v{VERSION}.csv").is_file()
    assert (first["reader0_dice"] == 1).all()
