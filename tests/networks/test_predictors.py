"""A bundle's predictor is its network with one tensor for an answer: the same weights under the same names."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from lung_nodule.errors import CheckpointError
from lung_nodule.methods import model_settings
from lung_nodule.networks import (
    E2EMTL,
    MTCNN,
    AsPredictor,
    E2EMTLPredictor,
    MTCNNPredictor,
    MTMRNet,
    MTMRNetPredictor,
    MTNet,
    MTNetPredictor,
    load_weights,
)  # fmt: skip

PAIRS = {
    "mtnet": (MTNet, MTNetPredictor, {"width": 0.125, "middle_blocks": 1}, (2, 1, 32, 32), (2, 3, 32, 32)),
    "mtmrnet": (MTMRNet, MTMRNetPredictor, {"width": 0.125}, (2, 1, 32, 32), (2, 9)),
    "mtcnn": (MTCNN, MTCNNPredictor, {"width": 0.125, "image_size": 32}, (2, 9, 32, 32), (2, 9)),
    "e2emtl": (E2EMTL, E2EMTLPredictor, {"width": 0.125}, (1, 3, 32, 32, 32), (1, 9, 32, 32, 32)),
}


@pytest.mark.parametrize("bundle", PAIRS)
def test_it_takes_the_networks_weights_by_name_and_answers_as_the_network_predicts(bundle: str) -> None:
    torch.manual_seed(0)
    network_type, predictor_type, options, shape, answer = PAIRS[bundle]
    network, predictor = network_type(**options).eval(), predictor_type(**options).eval()
    predictor.load_state_dict(network.state_dict())
    image = torch.rand(shape)
    with torch.no_grad():
        expected, got = network.predict(image), predictor(image)
        assert isinstance(network(image), dict)
        torch.testing.assert_close(AsPredictor(network)(image), expected, rtol=0, atol=0)
    assert got.shape == answer
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def write(folder: Path, network: nn.Module, settings: dict) -> Path:
    torch.save(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps({"patch": {}, "window": [], **settings}))
    return folder / "model.pt"


def test_settings_come_from_the_side_file_else_they_are_the_published_ones(tmp_path: Path) -> None:
    published = {"width": 1.0, "middle_blocks": 16, "coarse_mask": True}
    assert model_settings("mtnet", tmp_path / "model.pt") == {"network": published}
    side = {"bundle": "mtnet", "network": {"width": 0.25}, "patch": {}, "window": []}
    (tmp_path / "model.json").write_text(json.dumps(side))
    assert model_settings("mtnet", tmp_path / "model.pt")["network"] == {**published, "width": 0.25}
    with pytest.raises(CheckpointError, match="belongs to the bundle mtnet, not to mtcnn"):
        model_settings("mtcnn", tmp_path / "model.pt")


def test_weights_are_taken_whole_or_refused_and_their_file_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, predictor_type, options, _, _ = PAIRS["mtmrnet"]
    path = write(tmp_path, MTMRNet(**options), {"bundle": "mtmrnet", "network": options})
    with caplog.at_level(logging.INFO, logger="lung_nodule"):
        loaded = load_weights(predictor_type(**options), path, reason="the bundle's own")
    assert caplog.messages == [f"weights of {path}: the bundle's own"]
    assert not loaded.training
    for name, tensor in torch.load(path, weights_only=True).items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)
    with pytest.raises(CheckpointError, match="does not hold the weights of mtmrnet"):
        load_weights(predictor_type(width=0.25), path)
