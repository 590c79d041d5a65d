"""Slices one by one, mixed precision, and batches with their targets."""

from __future__ import annotations

import pytest
import torch

from lung_nodule.losses import MTMRLoss
from lung_nodule.networks import AsPredictor, MTMRNet
from lung_nodule.training import AutocastInferer, EachSlice, PrepareTargets, inferers, mixed_precision


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


@pytest.mark.parametrize(("able", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_autocast_only_where_the_device_has_bfloat16(
    monkeypatch: pytest.MonkeyPatch, able: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(inferers, "has_bfloat16", lambda device: able)
    layer, image = torch.nn.Conv2d(1, 2, 3), torch.rand(1, 1, 8, 8)
    assert AutocastInferer()(image, layer).dtype == dtype
    assert AutocastInferer(enabled=False)(image, layer).dtype == torch.float32


@pytest.mark.parametrize(
    ("capabilities", "able"),
    [
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "amx_bf16": True}, True),
        ({"architecture": "aarch64", "neon": True}, False),
    ],
)
def test_bfloat16_is_asked_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capabilities: dict[str, bool | str], able: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    with caplog.at_level("INFO", logger=mixed_precision.logger.name):
        assert mixed_precision.has_bfloat16.__wrapped__("cpu") is able
    assert ("this CPU has no instructions for bfloat16" in caplog.text) is not able


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
