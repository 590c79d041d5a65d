"""What every method's view keeps to, and what its side file must hold."""

from __future__ import annotations

import numpy as np
import pytest

from lung_nodule.core import CubeView, NoduleView, PlanesView, SlicesView, SquareView, check_voi
from lung_nodule.errors import InputError

SHAPE, SPACING, CENTER, DIAMETER = (44, 40, 20), (0.8, 0.9, 1.5), (21.3, 19.6, 9.7), 11.0
COMMON = {"window": [-1000.0, 400.0], "network": {}}
SIDE_FILES = {
    SlicesView: {"patch": {"patch_mm": 24.0, "z_patch_mm": 12.0, "image_size": 32}},
    SquareView: {"patch": {"crop": "adaptive", "image_size": 32}},
    PlanesView: {"patch": {"patch_mm": 24.0, "image_size": 32, "order": 3}, "view_weights": [1 / 9] * 9},
    CubeView: {
        "patch": {"patch_mm": 24.0, "image_size": 32},
        "channels": {"names": ["ct"], "slic_segments": 1, "slic_compactness": 0.1},
    },
}
IMAGES = {SlicesView: 8, SquareView: 7, PlanesView: 1, CubeView: 1}


def view_of(kind: type[NoduleView]) -> NoduleView:
    return kind.from_settings({**COMMON, **SIDE_FILES[kind]})


def lung() -> np.ndarray:
    return np.random.default_rng(0).normal(-600, 400, SHAPE).astype(np.float32)


@pytest.mark.parametrize("kind", SIDE_FILES)
def test_images_are_a_batch_of_the_shape_that_the_view_says(kind: type[NoduleView]) -> None:
    view, ct = view_of(kind), lung()
    check_voi(ct, SPACING, CENTER)
    prepared = view.prepare(ct, SPACING, CENTER, DIAMETER)
    assert prepared.images.shape == (IMAGES[kind], *view.image_shape)
    assert prepared.images.dtype == np.float32
    assert prepared.images.min() >= 0
    assert prepared.images.max() <= 1
    assert prepared.images.std() > 0.05
    assert (prepared.patch.shape, prepared.patch.center) == (SHAPE, CENTER)
    assert prepared.patch.patch_mm <= view.reach_mm(DIAMETER)


@pytest.mark.parametrize("kind", SIDE_FILES)
def test_one_tensor_is_aggregated_by_the_names_of_its_channels(kind: type[NoduleView]) -> None:
    view = view_of(kind)
    prepared = view.prepare(lung(), SPACING, CENTER, DIAMETER)
    spatial = view.image_shape[1:] if view.segments else ()
    tensor = np.full((len(prepared.images), len(view.channels), *spatial), 0.25, dtype=np.float32)
    prediction = view.aggregate(view.named(tensor), prepared.patch)
    assert prediction.score == pytest.approx(0.25)
    assert bool(prediction.maps) is view.segments
    for name in prediction.maps:
        assert prediction.on_voi(name).shape == SHAPE
        assert prediction.on_voi(name).max() == pytest.approx(0.25, abs=1e-6)
    if view.segments:
        assert prediction.mask.shape == SHAPE
        assert not prediction.mask.any()
    with pytest.raises(ValueError, match=f"gives 1 channels, {len(view.channels)} have names"):
        view.named(tensor[:, :1])


@pytest.mark.parametrize("kind", SIDE_FILES)
def test_a_side_file_that_lacks_an_entry_is_named(kind: type[NoduleView]) -> None:
    for entry in SIDE_FILES[kind]:
        with pytest.raises(KeyError, match=entry):
            kind.from_settings({**COMMON, **{key: value for key, value in SIDE_FILES[kind].items() if key != entry}})
    with pytest.raises(InputError, match="hu_window must be two numbers"):
        kind.from_settings({**COMMON, **SIDE_FILES[kind], "window": [400.0, -1000.0]})


def test_attributes_come_on_the_readers_scales() -> None:
    view = view_of(SquareView)
    prepared = view.prepare(lung(), SPACING, CENTER, DIAMETER)
    scores = np.linspace(0, 1, len(prepared.images), dtype=np.float32)[:, None].repeat(9, axis=1)
    attributes = view.aggregate(view.named(scores), prepared.patch).attributes
    assert attributes["margin"] == 3.0
    assert attributes["calcification"] == 3.5


def test_a_cube_needs_what_makes_its_channels() -> None:
    options = {"names": ["ct", "otsu"], "slic_segments": 1, "slic_compactness": 0.1}
    view = CubeView(patch_mm=24.0, image_size=16, channel_options=options)
    assert view.image_shape == (2, 16, 16, 16)
    with pytest.raises(ValueError, match="nothing makes the channels ct, otsu"):
        view.prepare(lung(), SPACING, CENTER)
