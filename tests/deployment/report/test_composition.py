"""The rule on HU, on balls whose composition is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lung_nodule.deployment.report.composition import composition_of

LUNG, GROUND_GLASS, TISSUE = -850.0, -600.0, 30.0
RADIUS = np.linalg.norm(np.indices((31, 31, 31)) - 15.0, axis=0)


def _nodule(radius: float, hu: float, core: float = 0.0) -> np.ndarray:
    """A ball in lung with a solid core, as sharp as a scanner shows it."""
    sharp = np.where(core > RADIUS, TISSUE, np.where(radius > RADIUS, hu, LUNG))
    return gaussian_filter(sharp, 0.7)


@pytest.mark.parametrize(("hu", "name", "share"), [(TISSUE, "solid", 1.0), (GROUND_GLASS, "non-solid", 0.0)])
def test_uniform_nodules(hu: float, name: str, share: float) -> None:
    found = composition_of(_nodule(8, hu), RADIUS < 8)
    assert found is not None
    assert (found.name, found.solid_share) == (name, pytest.approx(share, abs=0.02))


def test_ground_glass_with_a_core_is_part_solid_by_the_cores_share() -> None:
    found = composition_of(_nodule(12, GROUND_GLASS, core=7), RADIUS < 12)
    assert found is not None
    assert found.name == "part-solid"
    assert found.solid_share == pytest.approx((7 / 11) ** 3, abs=0.06)


def test_the_rim_of_a_small_solid_nodule_does_not_count() -> None:
    """With its rim, more than a fifth of this nodule's mask is below -300 HU."""
    hu, mask = _nodule(4, TISSUE), RADIUS < 4.5
    assert (hu[mask] > -300).mean() < 0.8
    found = composition_of(hu, mask)
    assert found is not None
    assert found.name == "solid"


@pytest.mark.parametrize("radius", [0.0, 2.0])
def test_too_few_voxels_are_not_judged(radius: float) -> None:
    assert composition_of(_nodule(radius, TISSUE), radius > RADIUS) is None
