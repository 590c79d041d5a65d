"""Pretrained weights are loaded when a stage starts from scratch, and never otherwise."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lung_nodule.errors import CheckpointError, InputError
from lung_nodule.io import file_sha256
from lung_nodule.networks import ClassNet
from lung_nodule.training import Pretrained, pretrained_hash
from tests.networks import published


def at_epoch(epoch: int) -> SimpleNamespace:
    return SimpleNamespace(state=SimpleNamespace(epoch=epoch))


@pytest.fixture
def network() -> ClassNet:
    torch.manual_seed(0)
    return ClassNet(width=0.125, middle_blocks=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "xception.pth"
    torch.save(published.xception(middle_blocks=1).state_dict(), path)
    return path


def second_kernel(network: nn.Module) -> torch.Tensor:
    return network.stem[1].conv.weight.detach().clone()


def test_a_stage_that_starts_takes_them_and_one_that_goes_on_does_not(network: ClassNet, file: Path) -> None:
    before, handler = second_kernel(network), Pretrained(checkpoint=file, network=network, layout="xception")
    torch.testing.assert_close(second_kernel(network), before)  # not when it is built
    handler(at_epoch(3))
    torch.testing.assert_close(second_kernel(network), before)
    handler(at_epoch(0))
    torch.testing.assert_close(second_kernel(network), torch.load(file, weights_only=True)["conv2.weight"])


def test_without_a_file_the_start_is_random(network: ClassNet) -> None:
    before = second_kernel(network)
    Pretrained(checkpoint=None, network=network, layout="xception")(at_epoch(0))
    torch.testing.assert_close(second_kernel(network), before)


def test_a_file_is_checked_before_earlier_stages_and_nothing_is_loaded(network: ClassNet, file: Path) -> None:
    before = second_kernel(network)
    Pretrained(checkpoint=file, network=network, layout="xception").check()
    Pretrained(checkpoint=None, network=network, layout="xception").check()
    torch.testing.assert_close(second_kernel(network), before)
    with pytest.raises(CheckpointError, match=r"xception.pth has nothing for this network in the layout timm"):
        Pretrained(checkpoint=file, network=network, layout="timm_xception65").check()


def test_weights_are_known_by_their_hash(file: Path) -> None:
    assert pretrained_hash(None) is None
    assert pretrained_hash(file) == file_sha256(file)
    with pytest.raises(InputError, match=r"no pretrained weights at .*none.pth"):
        pretrained_hash(file.with_name("none.pth"))
