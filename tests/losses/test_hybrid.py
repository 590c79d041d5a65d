"""The rank loss against a plain double loop, at its edges, and in its gradients."""

from __future__ import annotations

import pytest
import torch

from lung_nodule.losses import HybridLoss, RankLoss


def double_loop(probability: torch.Tensor, target: torch.Tensor, k: int, margin: float) -> float:
    """Equation 3 read literally, one image at a time, over the pixels that exist."""
    losses = []
    for p, g in zip(probability.flatten(1), target.flatten(1), strict=True):
        foreground = sorted(p[g > 0.5].tolist())[:k]
        background = sorted(p[g <= 0.5].tolist(), reverse=True)[:k]
        pairs = [max(0.0, b - f + margin) for b in background for f in foreground]
        losses.append(sum(pairs) / len(pairs) if pairs else 0.0)
    return sum(losses) / len(losses)


def with_foreground(pixels: int, images: int = 3, size: int = 9) -> torch.Tensor:
    """Targets with exactly so many foreground pixels each, at random places."""
    target = torch.zeros(images, 1, size, size)
    for image in target:
        image.view(-1)[torch.randperm(size * size)[:pixels]] = 1
    return target


@pytest.mark.parametrize("pixels", [0, 1, 4, 5, 30, 77, 81])
def test_equals_the_double_loop(pixels: int) -> None:
    """K = 5: no foreground, one pixel, K - 1, K, many, a background smaller than K, no background."""
    torch.manual_seed(pixels)
    logits, target = torch.randn(3, 1, 9, 9), with_foreground(pixels)
    expected = double_loop(torch.sigmoid(logits), target, k=5, margin=0.3)
    assert RankLoss(k=5, margin=0.3)(logits, target).item() == pytest.approx(expected, abs=1e-6)


def test_k_beyond_the_image_uses_every_pixel() -> None:
    logits, target = torch.randn(2, 1, 3, 3), with_foreground(4, images=2, size=3)
    expected = double_loop(torch.sigmoid(logits), target, k=100, margin=0.3)
    assert RankLoss(k=100)(logits, target).item() == pytest.approx(expected, abs=1e-6)


def test_is_zero_when_all_pixels_are_right_by_more_than_the_margin() -> None:
    target = with_foreground(20)
    assert RankLoss()((target * 2 - 1) * 6, target).item() == 0


def test_gradients_raise_hard_foreground_and_lower_hard_background_only() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(1, 1, 9, 9, requires_grad=True), with_foreground(30, images=1)
    RankLoss(k=5)(logits, target).backward()
    gradient, foreground = logits.grad.flatten(), target.flatten() > 0.5
    assert (gradient[foreground] <= 0).all()
    assert (gradient[~foreground] >= 0).all()
    assert 1 <= (gradient[foreground] < 0).sum() <= 5
    assert 1 <= (gradient[~foreground] > 0).sum() <= 5
    values = logits.detach().flatten()
    hardest = values.masked_fill(~foreground, 99).argmin()
    assert gradient[hardest] < 0


def test_images_do_not_mix() -> None:
    torch.manual_seed(1)
    logits, target = torch.randn(4, 1, 9, 9), with_foreground(12, images=4)
    apart = torch.stack([RankLoss()(logits[i : i + 1], target[i : i + 1]) for i in range(4)]).mean()
    assert RankLoss()(logits, target).item() == pytest.approx(apart.item(), abs=1e-6)


def test_hybrid_is_dice_plus_weighted_rank() -> None:
    torch.manual_seed(2)
    logits, target = torch.randn(2, 1, 9, 9), with_foreground(12, images=2)
    p, g = torch.sigmoid(logits).flatten(1), target.flatten(1)
    dice = (1 - 2 * (p * g).sum(1) / ((p + g).sum(1) + 1e-5)).mean()
    rank = double_loop(torch.sigmoid(logits), target, k=20, margin=0.3)
    assert HybridLoss(gamma=0.02)(logits, target).item() == pytest.approx(dice.item() + 0.02 * rank, abs=1e-5)


def test_gamma_zero_is_dice_alone_and_costs_no_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first point of Fig. 8: nothing is sorted for a term that counts nothing."""
    logits, target = torch.randn(2, 1, 9, 9), with_foreground(12, images=2)
    loss = HybridLoss(gamma=0)
    monkeypatch.setattr(loss.rank, "forward", lambda *_: pytest.fail("the rank loss was computed"))
    assert loss(logits, target).item() == pytest.approx(loss.dice(logits, target).item())


@pytest.mark.parametrize(("option", "values"), [("k", (1, 5, 20)), ("margin", (0.1, 0.3, 0.6)), ("gamma", (0.01, 0.1))])
def test_every_ablated_option_moves_the_loss(option: str, values: tuple[float, ...]) -> None:
    """Figs. 7 and 8: fewer pixels are harder ones, a larger margin and a larger weight cost more."""
    torch.manual_seed(4)
    logits, target = torch.randn(2, 1, 9, 9), with_foreground(30, images=2)
    costs = [HybridLoss(**{option: value})(logits, target).item() for value in values]
    ordered = sorted(costs, reverse=option == "k")
    assert costs == ordered
    assert len(set(costs)) == len(values)


def test_an_image_without_foreground_costs_one_and_moves_nothing() -> None:
    logits = torch.randn(1, 1, 9, 9, requires_grad=True)
    loss = HybridLoss()(logits, torch.zeros(1, 1, 9, 9))
    loss.backward()
    assert loss.item() == pytest.approx(1.0)
    assert logits.grad.abs().max() == 0


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RankLoss(k=0)
    with pytest.raises(ValueError, match="differ in shape"):
        RankLoss()(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 5, 5))
