"""From a network's one tensor to the nodule, through each method's view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lung_nodule.core import CubeView, PlanesView, ScannedCube, SlicesView, SquareView
from lung_nodule.evaluation.rows import high_columns, prediction_columns
from lung_nodule.lidc import ATTRIBUTE_THRESHOLDS, ATTRIBUTES
from lung_nodule.training import Aggregate, LabelledROCAUC, PrepareTargets, score_and_class

CUBE = Aggregate(CubeView(patch_mm=16.0, image_size=16))
PATCH = ScannedCube(shape=(16, 16, 11), spacing=(1.0, 1.0, 1.0), center=(7.5, 7.5, 7.5), patch_mm=16.0, image_size=16)


def nodule(*, classes: bool = True) -> dict:
    """A ball at the centre, a larger one beside it, and a slice of the ball beyond the scan, which has eleven."""
    maps = torch.zeros(1, 9 if classes else 1, 16, 16, 16)
    maps[0, 0, 6:10, 6:10, 5:12] = 0.9  # x, y, z
    maps[0, 0, 0:4, 0:16, 0:16] = 0.8
    if classes:
        maps[0, 1:] = torch.arange(1, 9)[:, None, None, None] / 10
    highs = torch.tensor([1.0, 0, 0, 1, 1, 0, 1])
    return {"pred": maps, "patch": PATCH, "highs": highs, "malignancy": torch.tensor([1.0])}


def test_the_mask_is_the_central_component_within_the_scan() -> None:
    made = CUBE(nodule())
    expected = np.zeros((16, 16, 16), dtype=bool)
    expected[5:11, 6:10, 6:10] = True  # z, x, y
    np.testing.assert_array_equal(made["segmentation"], expected)
    assert made["prediction"].probability.shape == (16, 16, 16)
    assert made["prediction"].probability[11, 6, 6] == pytest.approx(0.9)


def test_scores_keep_their_names() -> None:
    made = CUBE(nodule())
    assert made["malignancy_prob"].tolist() == pytest.approx([0.1])
    assert made["prediction"].attribute_probs["texture"] == pytest.approx(0.2)
    assert made["prediction"].attribute_probs["subtlety"] == pytest.approx(0.8)
    row = prediction_columns(made) | high_columns(made)
    assert [row[f"{name}_high"] for name in ATTRIBUTE_THRESHOLDS] == [1, 0, 0, 1, 1, 0, 1]


def test_without_ratings_there_is_no_reference() -> None:
    made = CUBE({**nodule(), "highs": torch.full((7,), torch.nan)})
    assert high_columns(made) == {}
    assert len(made["prediction"].attribute_probs) == 7


def test_a_network_that_does_not_classify_has_no_score() -> None:
    single = Aggregate(CubeView(patch_mm=16.0, image_size=16, multi_task=False))
    made = single(nodule(classes=False))
    assert torch.isnan(made["malignancy_prob"]).all()
    assert not made["prediction"].attribute_probs
    with pytest.raises(ValueError, match="gives 1 channels, 9 have names"):
        CUBE(nodule(classes=False))


def test_the_area_passes_over_nodules_without_a_class() -> None:
    area = LabelledROCAUC()
    area.reset()
    for score, label in ((0.9, 1.0), (0.2, 0.0), (0.99, torch.nan), (0.4, 0.0), (0.3, 1.0)):
        made = CUBE({**nodule(), "malignancy": torch.tensor([label])})
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


def test_a_nodule_is_the_mean_of_its_slices_on_the_readers_scales() -> None:
    scores = torch.tensor([[0.2] + [0.0] * 8, [0.6] + [1.0] * 8])
    nodule = Aggregate(SquareView(image_size=8))({"pred": scores, "patch": None})
    assert nodule["malignancy_prob"].tolist() == pytest.approx([0.4])
    middles = {**dict.fromkeys(ATTRIBUTES, 3.0), "internal_structure": 2.5, "calcification": 3.5}
    assert nodule["prediction"].attributes == pytest.approx(middles)
    assert list(nodule["prediction"].attributes) == list(ATTRIBUTES)


def test_without_the_attribute_branch_there_are_none() -> None:
    alone = Aggregate(SquareView(image_size=8, attributes=False))({"pred": torch.rand(3, 1), "patch": None})
    assert not alone["prediction"].attributes


def test_fusion_beside_its_parts() -> None:
    weights = [0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    view = PlanesView(patch_mm=32.0, image_size=16, weights=weights)
    fused = Aggregate(view, score="nodule_prob")({"pred": torch.tensor([[1.0] + [0.5] * 8]), "patch": None})
    assert fused["nodule_prob"].tolist() == pytest.approx([0.6])
    others = fused["prediction"].other_scores
    assert others["mean_prob"] == pytest.approx(5 / 9)
    assert others["view_1_prob"] == 1
    assert len(others) == 10
    with pytest.raises(ValueError, match="build the view from the side file"):
        Aggregate(replace(view, weights=None))({"pred": torch.rand(1, 9), "patch": None})


def test_a_slices_maps_and_scores_come_apart() -> None:
    """One tensor ``[1, C, H, W, S]``: the score is weighted by the coarse mask, the last map makes the mask."""
    view = SlicesView(patch_mm=16.0, image_size=16)
    patch = view.patch((16, 16, 3), (1.0, 1.0, 4.0), (7.5, 7.5, 1.0))
    pred = torch.zeros(1, 3, 16, 16, 3)
    pred[0, 0, 6:10, 6:10, 1:] = 0.9
    pred[0, 1, 7:9, 7:9, 1] = 0.6
    pred[0, 2] = torch.tensor([0.0, 0.2, 0.8])
    made = Aggregate(view)({"pred": pred, "patch": patch})
    assert made["malignancy_prob"].tolist() == pytest.approx([0.5])
    assert (made["segmentation"].sum(), made["prediction"].on_patch("coarse").sum()) == (4, 32)
    assert made["prediction"].mask.shape == (16, 16, 3)
    assert made["prediction"].mask.sum() == 4
    coarse = Aggregate(view, channels=["coarse"])({"pred": pred[:, :1], "patch": patch})
    assert coarse["segmentation"].sum() == 32
    assert "malignancy_prob" not in coarse
