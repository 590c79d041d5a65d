"""Mirrored copies: every way once, mirrored back exactly, averaged; the interval is their range."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lung_nodule.core import CubeView, NoduleView, PlanesView, Readout, SlicesView, SquareView
from lung_nodule.core.views.flips import all_flips, with_flips, without_flips

CT = np.random.default_rng(0).normal(-600, 300, (40, 44, 20))
GEOMETRY: dict[str, Any] = {"spacing": (1.0, 0.9, 1.5), "center": (19.5, 21.0, 10.0), "diameter": 12.0}
VIEWS: dict[str, tuple[NoduleView, int]] = {
    "slices": (SlicesView(patch_mm=32.0, image_size=32), 4),
    "square": (SquareView(image_size=32), 4),
    "planes": (PlanesView(patch_mm=32.0, image_size=32, weights=[1 / 9] * 9), 4),
    "cube": (CubeView(patch_mm=32.0, image_size=32), 8),
}


def network(images: np.ndarray, view: NoduleView) -> dict[str, np.ndarray]:
    """Maps that are the image, and scores that depend on which way an image lies."""
    ramp = np.linspace(0.1, 0.9, images.shape[-1])
    score = (images[:, 0] * ramp).mean(axis=tuple(range(1, images.ndim - 1)))
    maps = {"mask", "coarse", "fine"}
    outputs = {name: images[:, 0] if name in maps else score for name in view.channels}
    if isinstance(view, CubeView):  # its scores are constant maps
        cube = images.shape[2:]
        return {name: v if v.ndim > 1 else v[:, None, None, None] * np.ones(cube) for name, v in outputs.items()}
    return outputs


def test_every_way_once() -> None:
    assert all_flips(2) == ((), (0,), (1,), (0, 1))
    assert len(set(all_flips(3))) == 8


@pytest.mark.parametrize("axes", [2, 3])
def test_maps_come_back_as_they_were(axes: int) -> None:
    images = np.random.default_rng(1).random((3, 2, 5, 6, 7)[: 2 + axes])
    copies = with_flips(images)
    assert copies.shape[0] == 3 * 2**axes
    scores = np.arange(len(copies), dtype=float)
    back = without_flips({"map": copies[:, 0], "score": scores}, axes)
    assert len(back) == 2**axes
    for number, copy in enumerate(back):
        np.testing.assert_array_equal(copy["map"], images[:, 0])
        np.testing.assert_array_equal(copy["score"], scores[3 * number : 3 * number + 3])


@pytest.mark.parametrize("name", VIEWS)
def test_a_prediction_is_the_mean_over_the_copies(name: str) -> None:
    plain, number = VIEWS[name]
    view = replace(plain, flips=True)  # type: ignore[type-var]
    prepared, alone = view.prepare(CT, **GEOMETRY), plain.prepare(CT, **GEOMETRY)
    assert len(prepared.images) == number * len(alone.images)
    prediction = view.predict(network(prepared.images, view), prepared.patch, CT, 12.0)
    own = network(alone.images, plain)
    maps = {label: own[label] for label in own.keys() & {"mask", "coarse", "fine"}}
    each = []
    for flip in all_flips(alone.images.ndim - 2):
        mirrored = network(np.flip(alone.images, [axis + 2 for axis in flip]), plain)
        each.append(plain.predict({**mirrored, **maps}, alone.patch, CT, 12.0).score)
    assert len(set(each)) > 1
    np.testing.assert_allclose(prediction.draws, each, atol=1e-6)
    assert prediction.score == pytest.approx(np.mean(each), abs=1e-6)
    assert prediction.interval == (min(prediction.draws), max(prediction.draws))
    expected = plain.predict(own, alone.patch, CT, 12.0).maps
    assert prediction.maps.keys() == expected.keys()
    for label, values in prediction.maps.items():
        np.testing.assert_allclose(values, expected[label], atol=1e-6)


def test_without_copies_there_is_no_interval() -> None:
    view, _ = VIEWS["square"]
    prepared = view.prepare(CT, **GEOMETRY)
    assert view.predict(network(prepared.images, view), prepared.patch, CT, 12.0).interval is None


def test_the_readout_joins_every_copy() -> None:
    settings = {
        "mean": {"logit": 0.0, "ball_log_volume": 6.0}, "deviation": {"logit": 1.0, "ball_log_volume": 1.0},
        "outputs": {"malignancy": {"weights": {"logit": 2.0, "ball_log_volume": 0.5}, "intercept": 0.1}},
    }  # fmt: skip
    view = SquareView(image_size=32, flips=True, readout=Readout.from_settings(settings))
    prepared = view.prepare(CT, **GEOMETRY)
    outputs = network(prepared.images, view)
    joined = view.predict(outputs, prepared.patch, CT, 12.0)
    own = replace(view, readout=None).predict(outputs, prepared.patch, CT, 12.0, measure=True)
    expected = [
        1 / (1 + np.exp(-(0.1 + 2 * np.log(p / (1 - p)) + 0.5 * (own.measured["ball_log_volume"] - 6))))
        for p in own.draws
    ]
    np.testing.assert_allclose(joined.draws, expected, rtol=1e-6)
    assert joined.interval is not None
    assert joined.interval[0] <= joined.score <= joined.interval[1]
