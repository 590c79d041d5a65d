"""Learning rates over a training."""

from __future__ import annotations

import pytest

from lung_nodule.training import three_rates


def test_mtcnns_rate_falls_at_a_half_and_at_three_quarters() -> None:
    factors = [three_rates(8)(epoch) for epoch in range(8)]
    assert factors == [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.05, 0.05]
    assert three_rates(150)(74) == 1.0
    assert three_rates(150)(75) == pytest.approx(0.1)
