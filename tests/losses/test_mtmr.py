"""The margin ranking loss against torch's, its printed form and its gradients; the whole loss term by term."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from lung_nodule.errors import LossOptionError
from lung_nodule.losses import MarginRankingLoss, MTMRLoss


def batch(count: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and readers' scores; the first pair's are equal."""
    torch.manual_seed(seed)
    prediction, score = torch.rand(count), torch.randint(0, 17, (count,)) / 16
    score[count // 2] = score[0]
    return prediction, score


def printed_form(prediction: torch.Tensor, score: torch.Tensor, margin: float = 0.1) -> torch.Tensor:
    """Eqs. 3-4 as printed: an indicator on the predictions times the difference of the scores."""
    (p, q), (t, u) = prediction.chunk(2), score.chunk(2)
    indicator = torch.where(p >= q, 1.0, -1.0)
    return (margin - indicator * (t - u)).clamp(min=0).sum() / (2 * len(p))


def test_the_printed_form_has_no_gradient_and_ours_has() -> None:
    prediction, score = batch()
    prediction.requires_grad_()
    assert printed_form(prediction, score).item() > 0
    assert not printed_form(prediction, score).requires_grad
    MarginRankingLoss()(prediction, score).backward()
    assert prediction.grad.abs().max() > 0


def test_the_printed_form_punishes_a_right_order() -> None:
    """Two nodules in the right order whose scores are close: the printed loss is not 0, ours is."""
    prediction, score = torch.tensor([0.9, 0.1]), torch.tensor([0.55, 0.5])
    assert printed_form(prediction, score).item() == pytest.approx((0.1 - 0.05) / 2)
    assert MarginRankingLoss()(prediction, score).item() == 0


@pytest.mark.parametrize("seed", range(5))
def test_equals_torchs_loss_on_the_pairs_that_have_an_order(seed: int) -> None:
    prediction, score = batch(seed=seed)
    (p, q), (t, u) = prediction.chunk(2), score.chunk(2)
    ordered = t != u
    assert 0 < ordered.sum() < 8
    expected = torch.nn.MarginRankingLoss(margin=0.1, reduction="sum")(
        p[ordered], q[ordered], torch.sign(t - u)[ordered]
    )
    torch.testing.assert_close(MarginRankingLoss()(prediction, score), expected / (2 * 8))


def test_all_pairs_equal_the_double_loop() -> None:
    prediction, score = batch(9)
    pairs = list(itertools.combinations(range(9), 2))
    terms = [
        max(0.0, 0.1 - torch.sign(score[i] - score[j]).item() * (prediction[i] - prediction[j]).item())
        for i, j in pairs
        if score[i] != score[j]
    ]
    found = MarginRankingLoss(pairs="all")(prediction, score).item()
    assert found == pytest.approx(sum(terms) / (2 * len(pairs)), abs=1e-6)


def test_gradients_raise_the_more_malignant_and_lower_the_other() -> None:
    prediction = torch.tensor([0.5, 0.5], requires_grad=True)
    MarginRankingLoss()(prediction, torch.tensor([0.75, 0.25])).backward()
    assert prediction.grad.tolist() == pytest.approx([-0.5, 0.5])


def test_no_gradient_beyond_the_margin_nor_from_a_tie() -> None:
    prediction = torch.tensor([0.8, 0.3, 0.5, 0.6], requires_grad=True)  # pairs (0, 2) and (1, 3)
    loss = MarginRankingLoss()(prediction, torch.tensor([1.0, 0.5, 0.0, 0.5]))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad.abs().max() == 0


def test_training_ends_in_the_readers_order() -> None:
    torch.manual_seed(0)
    score = torch.linspace(0, 1, 8)
    logits = (-score).clone().requires_grad_()  # the wrong way round
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(300):
        shuffled = torch.randperm(8)
        optimizer.zero_grad()
        MarginRankingLoss()(torch.sigmoid(logits)[shuffled], score[shuffled]).backward()
        optimizer.step()
    assert logits.argsort().tolist() == list(range(8))


def test_the_last_of_an_odd_batch_has_no_partner() -> None:
    prediction, score = batch(7)
    torch.testing.assert_close(MarginRankingLoss()(prediction, score), MarginRankingLoss()(prediction[:6], score[:6]))
    assert MarginRankingLoss()(prediction[:1], score[:1]).item() == 0


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="two vectors of one length"):
        MarginRankingLoss()(torch.rand(4, 1), torch.rand(4))
    with pytest.raises(ValueError, match="two vectors of one length"):
        MarginRankingLoss()(torch.rand(4, 1), torch.rand(4, 1))
    with pytest.raises(LossOptionError, match="pairs must be"):
        MarginRankingLoss(pairs="thirds")


def outputs(count: int = 6) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    logits = torch.randn(count, 2, requires_grad=True)
    prediction = {"logits": logits, "malignancy": logits.softmax(1)[:, 1], "attributes": torch.rand(count, 8)}
    target = {"malignancy": torch.tensor([0.0, 1, 1, 0, 1, 0]), "score": torch.rand(count)}
    return prediction, {**target, "attributes": torch.rand(count, 8)}


def test_the_sum_is_its_three_terms() -> None:
    prediction, target = outputs()
    p = prediction["malignancy"]
    cross_entropy = functional.binary_cross_entropy(p, target["malignancy"])
    distance = ((prediction["attributes"] - target["attributes"]) ** 2).mean(0).sum()
    rank = MarginRankingLoss()(p, target["score"])
    torch.testing.assert_close(MTMRLoss()(prediction, target), cross_entropy + distance + 0.5 * rank)


def test_ablations_are_weights() -> None:
    prediction, target = outputs()
    plain = MTMRLoss(regression_weight=0, rank_weight=0)(prediction, target)
    torch.testing.assert_close(plain, functional.cross_entropy(prediction["logits"], target["malignancy"].long()))
    without_branch = {key: value for key, value in prediction.items() if key != "attributes"}
    torch.testing.assert_close(MTMRLoss(rank_weight=0)(without_branch, target), plain)


def test_attribute_shapes_that_would_broadcast_are_refused() -> None:
    prediction, target = outputs()
    with pytest.raises(ValueError, match="differ in shape"):
        MTMRLoss()({**prediction, "attributes": torch.rand(6, 1)}, target)


def test_a_soft_target_is_the_readers_score() -> None:
    """Cross-entropy with a probability: smallest where prediction and score agree, and of no use for the class."""
    prediction, target = outputs()
    found = MTMRLoss(soft_target=True).terms(prediction, {**target, "malignancy": torch.full((6,), torch.nan)})["class"]
    score, probability = target["score"], prediction["malignancy"]
    expected = functional.binary_cross_entropy(probability, score)
    torch.testing.assert_close(found, expected)
    of_classes = {**target, "score": target["malignancy"]}
    torch.testing.assert_close(
        MTMRLoss(soft_target=True).terms(prediction, of_classes)["class"],
        MTMRLoss().terms(prediction, of_classes)["class"],
    )
