"""From the maps of a cube to a nodule's scores and mask."""

import numpy as np
import pytest
import torch

from lung_nodule.data import (
    ScannedCube,
)
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS
from lung_nodule.training import AggregateCube, LabelledROCAUC, PrepareTargets, score_and_class

PATCH = ScannedCube(shape=(16, 16, 16), spacing=(1.0, 1.0, 1.0), center=(7.5, 7.5, 7.5), cube_mm=16.0, size=16)


def nodule(*, classes: bool = True) -> dict:
    """A ball at the centre, a larger one beside it, and one voxel of the ball beyond the scan."""
    maps = torch.zeros(1, 9 if classes else 1, 16, 16, 16)
    maps[0, 0, 6:10, 6:10, 5:12] = 0.9  # x, y, z
    maps[0, 0, 0:4, 0:16, 0:16] = 0.8
    inside = torch.ones(1, 16, 16, 16)
    inside[..., 11:] = 0
    if classes:
        maps[0, 1:] = torch.arange(1, 9)[:, None, None, None] / 10
    highs = torch.tensor([1.0, 0, 0, 1, 1, 0, 1])
    return {"pred": maps, "inside": inside, "patch": PATCH, "highs": highs, "malignancy": torch.tensor([1.0])}


def test_the_mask_is_the_central_component_within_the_scan() -> None:
    made = AggregateCube(ATTRIBUTE_THRESHOLDS)(nodule())
    expected = np.zeros((16, 16, 16), dtype=bool)
    expected[5:11, 6:10, 6:10] = True  # z, x, y
    np.testing.assert_array_equal(made["segmentation"], expected)
    assert made["probability"].shape == (16, 16, 16)
    assert made["probability"][11, 6, 6] == pytest.approx(0.9)


def test_scores_keep_their_names() -> None:
    made = AggregateCube(ATTRIBUTE_THRESHOLDS)(nodule())
    assert made["malignancy_prob"].tolist() == pytest.approx([0.1])
    assert made["attribute_probs"]["texture"] == pytest.approx(0.2)
    assert made["attribute_probs"]["subtlety"] == pytest.approx(0.8)
    assert made["attribute_highs"] == dict(zip(ATTRIBUTE_THRESHOLDS, [1, 0, 0, 1, 1, 0, 1], strict=True))


def test_without_ratings_there_is_no_reference() -> None:
    made = AggregateCube(ATTRIBUTE_THRESHOLDS)({**nodule(), "highs": torch.full((7,), torch.nan)})
    assert "attribute_highs" not in made
    assert len(made["attribute_probs"]) == 7


def test_a_network_that_does_not_classify_has_no_score() -> None:
    made = AggregateCube(ATTRIBUTE_THRESHOLDS)(nodule(classes=False))
    assert torch.isnan(made["malignancy_prob"]).all()
    assert "attribute_probs" not in made


def test_the_area_passes_over_nodules_without_a_class() -> None:
    area = LabelledROCAUC()
    area.reset()
    for score, label in ((0.9, 1.0), (0.2, 0.0), (0.99, torch.nan), (0.4, 0.0), (0.3, 1.0)):
        made = AggregateCube(ATTRIBUTE_THRESHOLDS)({**nodule(), "malignancy": torch.tensor([label])})
        made["malignancy_prob"] = torch.tensor([score])
        area.update(score_and_class(made))
    assert float(area.compute()) == pytest.approx(3 / 4)


def test_a_batch_keeps_image_and_targets_apart() -> None:
    batch = {name: torch.zeros(2, 1) for name in ("image", "label", "inside", "highs", "malignancy")}
    image, targets = PrepareTargets(["label", "inside", "highs", "malignancy"])(
        {**batch, "nodule_id": ["a", "b"]}, "cpu"
    )
    assert image is batch["image"]
    assert set(targets) == {"label", "inside", "highs", "malignancy"}
