"""The end-to-end loss against its formula, and what it leaves out."""

from __future__ import annotations

import math

import pytest
import torch

from lung_nodule.errors import LossOptionError
from lung_nodule.losses import EndToEndLoss

NAN = math.nan


@pytest.fixture
def logits() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    shapes = {"segmentation": (3, 1, 8, 8, 8), "attributes": (3, 7), "malignancy": (3, 1)}
    return {name: torch.randn(shape, generator=random).requires_grad_() for name, shape in shapes.items()}


@pytest.fixture
def target() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return {
        "label": (torch.rand(3, 1, 8, 8, 8, generator=random) > 0.7).float(),
        "highs": (torch.rand(3, 7, generator=random) > 0.5).float(),
        "malignancy": torch.tensor([[1.0], [0.0], [1.0]]),
    }


def by_hand(logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor], *, malignancy: str) -> float:
    """Sums written out, in double precision."""
    p = {name: torch.sigmoid(value.detach().double()) for name, value in logits.items()}
    dice = sum(
        1 - (2 * (q * g).sum() + 1e-5) / (q.sum() + g.sum() + 1e-5)
        for q, g in zip(p["segmentation"], target["label"].double(), strict=True)
    )
    entropy = -(target["highs"] * p["attributes"].log() + (1 - target["highs"]) * (1 - p["attributes"]).log())
    if malignancy == "l1":
        last = (target["malignancy"] - p["malignancy"]).abs().mean()
    else:
        right = torch.where(target["malignancy"] > 0.5, p["malignancy"], 1 - p["malignancy"])
        last = -right.log().mean()
    return float(dice / 3 + entropy.sum() / 3 + last)


@pytest.mark.parametrize("malignancy", ["l1", "bce"])
def test_the_loss_is_its_formula(
    logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor], malignancy: str
) -> None:
    loss = EndToEndLoss(malignancy_loss=malignancy)(logits, target)
    assert float(loss.detach()) == pytest.approx(by_hand(logits, target, malignancy=malignancy), rel=1e-5)


def test_the_mask_term_takes_a_weight_and_cross_entropy(
    logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor]
) -> None:
    """On a label with shares of voxels, with voxels beyond the scan, which are background in both."""
    label = torch.rand(target["label"].shape, generator=torch.Generator().manual_seed(2))
    inside = torch.ones_like(label)
    inside[..., 6:] = 0
    target = {**target, "label": label, "inside": inside}
    printed = EndToEndLoss().terms(logits, target)["segmentation"]
    p = torch.sigmoid(logits["segmentation"].detach().double())
    entropy = -(label * p.log() + (1 - label) * (1 - p).log()) * inside
    weighted = EndToEndLoss(mask_loss="dice_bce", mask_weight=3.0)
    terms = weighted.terms(logits, target)
    assert float(terms["segmentation"].detach()) == pytest.approx(
        float(printed.detach()) + float(entropy.mean()), rel=1e-5
    )
    total = 3 * terms["segmentation"] + terms["attributes"] + terms["malignancy"]
    torch.testing.assert_close(weighted(logits, target), total)


def test_a_nodule_without_a_class_trains_the_rest(
    logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor]
) -> None:
    target["malignancy"][1] = NAN
    terms = EndToEndLoss().terms(logits, target)
    others = torch.tensor([0, 2])
    expected = (1 - torch.sigmoid(logits["malignancy"].detach()[others])).mean()
    assert float(terms["malignancy"].detach()) == pytest.approx(float(expected), rel=1e-5)
    sum(terms.values()).backward()
    assert all(torch.isfinite(value.grad).all() for value in logits.values())
    assert logits["malignancy"].grad[1] == 0
    assert logits["attributes"].grad[1].abs().min() > 0
    assert logits["segmentation"].grad[1].abs().sum() > 0


def test_a_batch_without_any_class_is_finite(logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> None:
    loss = EndToEndLoss()({**logits}, {**target, "malignancy": torch.full((3, 1), NAN)})
    loss.backward()
    assert torch.isfinite(loss)
    assert (logits["malignancy"].grad == 0).all()


def test_a_missing_attribute_is_left_out(logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> None:
    target["highs"][0, 4] = NAN
    EndToEndLoss()(logits, target).backward()
    assert logits["attributes"].grad[0, 4] == 0
    assert logits["attributes"].grad[1, 4] != 0


def test_voxels_beyond_the_scan_say_nothing(logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> None:
    inside = torch.ones_like(target["label"])
    inside[..., 5:] = 0
    term = EndToEndLoss().terms(logits, {**target, "inside": inside})["segmentation"]
    cut = {"segmentation": logits["segmentation"][..., :5]}
    assert float(term.detach()) == pytest.approx(
        float(EndToEndLoss()(cut, {"label": target["label"][..., :5]}).detach()), rel=1e-5
    )
    term.backward()
    assert (logits["segmentation"].grad[..., 5:] == 0).all()
    assert torch.isfinite(logits["segmentation"].grad).all()


def test_the_printed_term_hardly_moves_what_is_surely_wrong() -> None:
    """Why "bce" is offered: the printed gradient is p (1 - p)."""
    gradients = {}
    for kind in ("l1", "bce"):
        z = torch.tensor([[-8.0]], requires_grad=True)
        logits = {"segmentation": torch.zeros(1, 1, 2, 2, 2), "attributes": torch.zeros(1, 1), "malignancy": z}
        target = {"label": torch.ones(1, 1, 2, 2, 2), "highs": torch.ones(1, 1), "malignancy": torch.ones(1, 1)}
        EndToEndLoss(malignancy_loss=kind)(logits, target).backward()
        gradients[kind] = float(z.grad)
    p = 1 / (1 + math.exp(8))
    assert gradients["l1"] == pytest.approx(-p * (1 - p), rel=1e-4)
    assert gradients["bce"] == pytest.approx(p - 1, rel=1e-4)


def test_a_segmentation_alone_is_dice_alone(logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> None:
    alone = EndToEndLoss().terms({"segmentation": logits["segmentation"]}, {"label": target["label"]})
    assert set(alone) == {"segmentation"}


def test_mistakes_are_named(logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> None:
    with pytest.raises(LossOptionError, match=r"one of l1, bce, got 'l2'"):
        EndToEndLoss(malignancy_loss="l2")
    with pytest.raises(LossOptionError, match="mask_loss must be one of dice, dice_bce, got 'ce'"):
        EndToEndLoss(mask_loss="ce")
    with pytest.raises(LossOptionError, match="mask_weight must be above 0, got 0"):
        EndToEndLoss(mask_weight=0)
    with pytest.raises(ValueError, match=r"logits \(3, 1\) and target \(3,\) differ in shape"):
        EndToEndLoss()(logits, {**target, "malignancy": target["malignancy"][:, 0]})


def test_ranks_together_weigh_every_known_entry_alike(
    logits: dict[str, torch.Tensor], target: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Averaged over two ranks, of which one knows fewer classes, the terms are those of one process."""
    unknown = target["malignancy"].clone()
    unknown[1:] = float("nan")
    rated = target["highs"].clone()
    rated[0, 2] = float("nan")
    target = {**target, "malignancy": unknown, "highs": rated}
    loss, half = EndToEndLoss(malignancy_loss="bce"), len(unknown) // 2
    together = loss.terms(logits, target)
    parts = [slice(None, half), slice(half, None)]
    counts = [
        [(~target["highs"][part, i].isnan()).sum() for part in parts] for i in range(target["highs"].shape[1])
    ] + [[(~unknown[part].isnan()).sum() for part in parts]]
    terms = []
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 2)
    for part in parts:
        gathered = iter([torch.stack(each).sum().float() for each in counts])
        monkeypatch.setattr("ignite.distributed.all_reduce", lambda _, gathered=gathered: next(gathered))
        terms.append(loss.terms(*({name: value[part] for name, value in each.items()} for each in (logits, target))))
        assert next(gathered, None) is None, "a rank that does not ask would leave the others waiting"
    for name in ("attributes", "malignancy"):
        assert (terms[0][name] + terms[1][name]).item() / 2 == pytest.approx(together[name].item(), rel=1e-5)
