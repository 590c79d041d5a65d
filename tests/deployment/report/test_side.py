"""The nodule's side, on a chest of ellipses."""

from __future__ import annotations

import numpy as np
import pytest

from lung_nodule.deployment.report.side import side_of
from lung_nodule.io import Volume

SPACING = 2.0
SHAPE = (200, 150, 3)


def _ellipse(x: float, y: float, half_x: float, half_y: float) -> np.ndarray:
    i, j, _ = np.indices(SHAPE) * SPACING
    return ((i - x) / half_x) ** 2 + ((j - y) / half_y) ** 2 < 1


def _chest(middle: float, half_width: float = 150.0) -> Volume:
    """Body, two lungs of unequal width, table; x runs to the patient's left."""
    data = np.full(SHAPE, -1000, dtype=np.int16)
    data[_ellipse(middle, 130, half_width, 100)] = 40
    data[_ellipse(middle - half_width / 2, 130, half_width / 3, 70)] = -850
    data[_ellipse(middle + half_width / 2 + 5, 130, half_width / 3 - 8, 70)] = -850
    data[:, 120:122] = 100
    affine = np.diag([-SPACING, -SPACING, 2.5, 1.0])
    return Volume(data, affine)


@pytest.mark.parametrize("middle", [180.0, 220.0])
def test_left_and_right_of_the_bodys_own_middle(middle: float) -> None:
    chest = _chest(middle)
    assert side_of(chest, np.array([(middle + 60) / SPACING, 65.0, 1.0])) == "left"
    assert side_of(chest, np.array([(middle - 60) / SPACING, 65.0, 1.0])) == "right"


def test_nothing_is_said_near_the_middle() -> None:
    assert side_of(_chest(200.0), np.array([205.0 / SPACING, 65.0, 1.0])) == ""


def test_nothing_is_said_of_a_slice_without_a_chest() -> None:
    """A part of the chest, air alone, and a body without lungs have no midline to be had."""
    place = np.array([90.0, 65.0, 1.0])
    body = _chest(200.0)
    for data in (_chest(200.0, half_width=90.0).data, np.full(SHAPE, -1000), np.where(body.data > -1000, 40, -1000)):
        assert side_of(Volume(data, body.affine), place) == ""
