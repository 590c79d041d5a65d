"""Slices one by one, and batches with their targets."""

from __future__ import annotations

import pytest
import torch

from lung_nodule.losses import MTMRLoss
from lung_nodule.networks import AsPredictor, MTMRNet
from lung_nodule.training import EachSlice, PrepareTargets


@pytest.fixture(scope="module")
def network() -> MTMRNet:
    torch.manual_seed(0)
    return MTMRNet(width=0.125).eval()


def test_every_slice_is_scored_by_itself(network: MTMRNet) -> None:
    volume, scorer = torch.rand(1, 1, 32, 32, 5), AsPredictor(network)
    with torch.no_grad():
        scores = EachSlice(batch_size=2)(volume, scorer)
        alone = torch.cat([scorer(volume[..., z]) for z in range(5)])
    assert scores.shape == (5, 9)
    torch.testing.assert_close(scores, alone)


def test_a_batch_reaches_the_loss(network: MTMRNet) -> None:
    batch = {
        "image": torch.rand(4, 1, 32, 32),
        "malignancy": torch.tensor([0.0, 1, 1, 0]),
        "score": torch.rand(4),
        "attributes": torch.rand(4, 8),
        "nodule_id": list("abcd"),
    }
    image, target = PrepareTargets(["malignancy", "score", "attributes"])(
        batch, "cpu", memory_format=torch.channels_last
    )
    assert set(target) == {"malignancy", "score", "attributes"}
    loss = MTMRLoss()(network(image), target)
    assert loss.ndim == 0
    assert torch.isfinite(loss)
