"""Occlusion maps of models whose answer is a known function of known voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from lung_nodule.deployment.answers import Answer, ServedModel
from lung_nodule.deployment.findings import Finding, as_row, make_finding
from lung_nodule.deployment.occlusion import CUBES, LEAST_MM, OccludedVois, occlusion_of
from lung_nodule.deployment.prediction.explain import add_occlusion_maps
from lung_nodule.errors import InputError
from lung_nodule.io import Voi, Volume

SHAPE, SPACING = (60, 56, 30), (0.8, 0.9, 2.0)
LUNG_HU, REGION = -870.0, (slice(30, 33), slice(27, 30), slice(15, 17))
Model = Callable[[np.ndarray], Answer]


def _voi(shape: tuple[int, int, int] = SHAPE, center: Sequence[float] = (30.0, 28.0, 15.0)) -> Voi:
    """Lung with a ball of 14 mm."""
    grid = np.moveaxis(np.indices(shape), 0, -1)
    hu = np.where(_ball(grid, center, 7.0), 40.0, LUNG_HU).astype(np.float32)
    volume = Volume(hu, np.diag([*SPACING, 1.0]))
    x, y, z = (slice(0, size) for size in shape)
    return Voi("n", volume, (x, y, z), np.array(center))


def _ball(grid: np.ndarray, center: Sequence[float], radius: float) -> np.ndarray:
    return np.linalg.norm((grid - np.array(center)) * SPACING, axis=-1) < radius


def _finding(voi: Voi, model: Model, *, masked: bool = True) -> Finding:
    answer = model(voi.volume.data)
    maps = {"mask": (voi.volume.data > -300).astype(np.float32)} if masked else {}
    return make_finding(1, (0.0, 0.0, 0.0), voi, replace(answer, maps=maps))


class Client:
    """Answers with a function of the HU that it is sent, as a server does, and keeps what it was asked."""

    def __init__(self, model: Model, outputs: tuple[str, ...] = ("MALIGNANCY_PROBABILITY", "MASK_PROBABILITY")) -> None:
        self._model = model
        self._served = ServedModel("m", "1", 32.0, 0.0, ("VOI",), outputs, {})
        self.asked: list[tuple[float | None, Sequence[str] | None]] = []

    def describe(self) -> ServedModel:
        return self._served

    def ask(
        self, vois: Sequence[Voi], diameters: Sequence[float | None] | None = None, *, outputs: Sequence[str] | None
    ) -> Iterator[tuple[int, Answer]]:
        """Not in the order of the VOIs."""
        assert diameters is not None
        assert len(vois) == len(diameters)
        for index in np.random.default_rng(0).permutation(len(vois)).tolist():
            self.asked.append((diameters[index], outputs))
            yield index, self._model(vois[index].volume.data)


def _mean_of_region(hu: np.ndarray) -> Answer:
    """0.9 where the region is all nodule, 0.1 where it is all lung."""
    return Answer(0.1 + 0.8 * float(np.mean((hu[REGION] - LUNG_HU) / (40.0 - LUNG_HU))))


def test_the_map_is_not_zero_exactly_where_the_model_looks() -> None:
    """In each cube by the share of the region that it covers: over all cubes that is the whole difference."""
    voi = _voi()
    (found,) = add_occlusion_maps(Client(_mean_of_region), [_finding(voi, _mean_of_region)])
    occlusion = found.occlusion
    assert occlusion is not None
    region = np.zeros(SHAPE, dtype=bool)
    region[REGION] = True
    shares = np.array([region[occlusion.box(index)].sum() for index in range(occlusion.change.size)]) / region.sum()
    assert 0 < (shares > 0).sum() < 20
    np.testing.assert_allclose(occlusion.change.ravel(), -0.8 * shares, atol=1e-6)
    on_voxels = occlusion.on_voxels(SHAPE)
    assert set(zip(*np.nonzero(region), strict=True)) <= set(zip(*np.nonzero(on_voxels), strict=True))


def test_what_raises_the_probability_has_the_other_sign() -> None:
    def against(hu: np.ndarray) -> Answer:
        return Answer(1 - _mean_of_region(hu).malignancy)

    (found,) = add_occlusion_maps(Client(against), [_finding(_voi(), against)])
    assert found.occlusion is not None
    assert found.occlusion.change.min() == pytest.approx(0, abs=1e-6)
    assert found.occlusion.change.max() > 0.05


def test_the_cubes_cover_the_nodule_and_a_cube_around_it_without_overlap() -> None:
    voi, finding = _voi(), _finding(_voi(), _mean_of_region)
    assert finding.mask is not None
    occlusion = occlusion_of(voi, finding.mask, None)
    times = np.zeros(SHAPE, dtype=int)
    for index in range(occlusion.change.size):
        times[occlusion.box(index)] += 1
    assert set(np.unique(times)) == {0, 1}
    assert times[finding.mask].all()
    assert occlusion.change.size == CUBES**3
    extent = 2 * 7.0
    assert occlusion.cube_mm == pytest.approx(extent / (CUBES - 2), abs=max(SPACING))
    for axis, spacing in enumerate(SPACING):
        covered, found = (np.flatnonzero(part.any(axis=tuple({0, 1, 2} - {axis}))) for part in (times, finding.mask))
        margins = np.array([found[0] - covered[0], covered[-1] - found[-1]]) * spacing
        assert (margins > occlusion.cube_mm - max(SPACING)).all()


@pytest.mark.parametrize("diameter", [1.0, 2.0, 200.0, None])
def test_the_number_of_requests_is_bounded_and_no_cube_is_smaller_than_a_voxel(diameter: float | None) -> None:
    occlusion = occlusion_of(_voi(), None, diameter)
    assert 0 < occlusion.change.size <= CUBES**3
    assert occlusion.cube_mm >= max(LEAST_MM, *SPACING)
    assert all((np.diff(edge) > 0).all() for edge in occlusion.edges)


def test_at_the_edge_of_the_ct_cubes_are_cut_off() -> None:
    occlusion = occlusion_of(_voi(center=(1.0, 28.0, 29.0)), None, 12.0)
    assert occlusion.edges[0][0] == 0
    assert occlusion.edges[2][-1] == SHAPE[2]
    assert len(occlusion.edges[0]) < CUBES + 1 == len(occlusion.edges[1])


def test_an_occluded_voi_differs_in_its_cube_alone() -> None:
    voi = _voi()
    occlusion = occlusion_of(voi, voi.volume.data > -300, None)
    before = voi.volume.data.copy()
    vois = OccludedVois(voi, occlusion)
    for index in (0, 62, len(vois) - 1):
        box = occlusion.box(index)
        assert (vois[index].volume.data[box] == LUNG_HU).all()
        changed = vois[index].volume.data != before
        changed[box] = False
        assert not changed.any()
    np.testing.assert_array_equal(voi.volume.data, before)
    assert sum(1 for _ in vois) == len(vois)


def test_scores_alone_are_asked_for_and_the_diameter_stays() -> None:
    """A diameter that changed with the mask would change the answer for another reason."""
    outputs = ("MASK_PROBABILITY", "MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL", "ATTRIBUTES")
    client = Client(_mean_of_region, outputs)
    finding = _finding(_voi(), lambda hu: replace(_mean_of_region(hu), diameter_mm=9.5))
    add_occlusion_maps(client, [finding])
    assert set(client.asked[0][1] or ()) == {"MALIGNANCY_PROBABILITY", "MALIGNANCY_INTERVAL"}
    assert {diameter for diameter, _ in client.asked} == {9.5}


def test_of_a_panel_the_methods_count_that_answered_for_the_whole_nodule() -> None:
    """A method that answers only once something is cut out has no change to show."""
    nothing = (float("nan"), float("nan"))

    def panel(hu: np.ndarray, second: float) -> Answer:
        one = _mean_of_region(hu).malignancy
        scores = [score for score in (one, second) if np.isfinite(score)]
        methods = {"one": (one, nothing), "two": (second, nothing)}
        return Answer(float(np.mean(scores)), nothing, methods=methods)

    finding = _finding(_voi(), lambda hu: panel(hu, float("nan")))
    (found,) = add_occlusion_maps(Client(lambda hu: panel(hu, 0.5)), [finding])
    (alone,) = add_occlusion_maps(Client(_mean_of_region), [_finding(_voi(), _mean_of_region)])
    assert found.occlusion is not None
    assert alone.occlusion is not None
    np.testing.assert_allclose(found.occlusion.change, alone.occlusion.change)


def test_a_model_without_a_score_is_refused() -> None:
    client = Client(_mean_of_region, ("MASK_PROBABILITY",))
    with pytest.raises(InputError, match="gives no malignancy probability: leave --explain out"):
        add_occlusion_maps(client, [_finding(_voi(), _mean_of_region)])


def test_the_table_says_what_the_map_shows() -> None:
    (found,) = add_occlusion_maps(Client(_mean_of_region), [_finding(_voi(), _mean_of_region)])
    row = as_row(found)
    assert row["occlusion_map"] == "occlusion/n.nii.gz"
    assert row["occlusion_hu"] == pytest.approx(LUNG_HU)
    assert row["occlusion_lowest"] == found.occlusion.change.min() < 0
    assert "occlusion_map" not in as_row(_finding(_voi(), _mean_of_region))
