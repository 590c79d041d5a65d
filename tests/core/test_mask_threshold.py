"""A network's own threshold of its map; whoever reads a prediction cuts at 0.5."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lung_nodule.core import CubeView, SlicesView, central_component, cut_at_half

CT = np.full((40, 40, 20), -800.0)
GEOMETRY = {"spacing": (0.8, 0.8, 1.6), "center": (20.0, 19.0, 10.0)}


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.45, 0.5, 0.9])
def test_the_mask_at_half_is_that_at_the_threshold(threshold: float) -> None:
    probability = np.append(np.random.default_rng(0).random(10_000, dtype=np.float32), np.float32([0, 1, threshold]))
    cut = cut_at_half(probability, threshold)
    clear = np.abs(probability - threshold) > 1e-6
    np.testing.assert_array_equal((cut >= 0.5)[clear], (probability >= threshold)[clear])
    assert cut[-1] == pytest.approx(0.5)
    assert (cut.dtype, cut.min(), cut.max()) == (np.float32, 0, 1)
    order = np.argsort(probability)
    assert (np.diff(cut[order]) >= 0).all()


def test_a_map_at_half_is_left_as_it_is() -> None:
    probability = np.random.default_rng(0).random((4, 4), dtype=np.float32)
    assert cut_at_half(probability, 0.5) is probability


@pytest.mark.parametrize(
    ("view", "name", "others"),
    [
        (SlicesView(patch_mm=32.0, image_size=32), "fine", ("coarse",)),
        (CubeView(patch_mm=32.0, image_size=32, multi_task=False), "mask", ()),
    ],
)
def test_a_view_cuts_the_map_of_its_mask_alone(view: SlicesView | CubeView, name: str, others: tuple[str, ...]) -> None:
    own = replace(view, mask_threshold=0.3)  # type: ignore[type-var]
    prepared = view.prepare(CT, **GEOMETRY)
    random = np.random.default_rng(1)
    shape = (len(prepared.images), *prepared.images.shape[2:])
    outputs = {channel: random.random(shape, dtype=np.float32) for channel in (*others, name)}
    low, half = (each.aggregate(outputs, prepared.patch) for each in (own, view))
    inside = np.ones(low.probability.shape, bool) if prepared.patch.inside is None else prepared.patch.inside
    expected = central_component(
        (half.probability >= 0.3) & inside, prepared.patch.central_pixel, prepared.patch.pixel_spacing
    )
    np.testing.assert_array_equal(low.on_patch(), expected)
    assert low.mask.sum() > half.mask.sum()
    for other in others:
        np.testing.assert_array_equal(low.maps[other], half.maps[other])


def test_a_side_file_without_a_threshold_means_half() -> None:
    settings = {"patch": {"patch_mm": 32.0, "image_size": 32}, "window": [-1000.0, 400.0]}
    assert SlicesView.from_settings(settings).mask_threshold == 0.5
    assert SlicesView.from_settings({**settings, "mask_threshold": 0.4}).mask_threshold == 0.4
