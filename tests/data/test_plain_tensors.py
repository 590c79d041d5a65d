"""Random transforms of a training set: plain tensors, the same values, and MONAI's setting as it was."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, get_track_meta, set_track_meta
from monai.transforms import Compose, RandFlipd, RandRotated

from lung_nodule.data import NoduleSlices, RandSliceAffined
from lung_nodule.data.plain_tensors import plain_tensors

KEYS = ["image", "label"]


def transforms() -> Compose:
    affine = RandSliceAffined(keys=KEYS, prob=1.0, rotate=0.4, scale=0.2, translate=3.0, mode=("bilinear", "nearest"))
    chain = Compose([affine, RandRotated(KEYS, range_x=0.5, prob=1.0), RandFlipd(KEYS, prob=0.5, spatial_axis=0)])
    return chain.set_random_state(seed=5)


@pytest.fixture
def nodules() -> list[dict[str, Any]]:
    draw = np.random.default_rng(0)
    return [
        {"image": draw.random((1, 24, 24), np.float32), "label": (draw.random((1, 24, 24)) > 0.5).astype(np.float32)}
        for _ in range(3)
    ]


def test_values_are_those_of_meta_tensors(nodules: list[dict[str, Any]]) -> None:
    drawn = NoduleSlices(nodules, slices_per_nodule=2, transform=transforms())
    tracked = transforms()
    for index in range(6):
        item, expected = drawn[index], tracked({**nodules[index // 2]})
        for key in KEYS:
            assert isinstance(expected[key], MetaTensor)
            assert type(item[key]) is torch.Tensor
            assert torch.equal(item[key], expected[key].as_tensor())


@pytest.mark.parametrize("before", [True, False])
def test_the_setting_is_put_back(before: bool, nodules: list[dict[str, Any]]) -> None:
    def fails(item: dict[str, Any]) -> None:
        seen.append(get_track_meta())
        raise ValueError("no such slice")

    seen: list[bool] = []
    usual = get_track_meta()
    set_track_meta(before)
    try:
        with pytest.raises((RuntimeError, ValueError)):
            NoduleSlices(nodules, slices_per_nodule=1, transform=fails)[0]
        assert seen[0] is False
        assert get_track_meta() is before
    finally:
        set_track_meta(usual)


def test_the_last_of_several_threads_puts_it_back() -> None:
    first_in, first_out = threading.Event(), threading.Event()
    seen: list[bool] = []

    def other() -> None:
        with plain_tensors():
            first_in.set()
            first_out.wait()
            seen.append(get_track_meta())

    thread = threading.Thread(target=other)
    thread.start()
    first_in.wait()
    with plain_tensors():
        assert not get_track_meta()
    assert not get_track_meta()
    first_out.set()
    thread.join()
    assert seen == [False]
    assert get_track_meta()
