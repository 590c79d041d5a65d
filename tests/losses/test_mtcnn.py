"""The loss of MT-CNN against its definition, and that nine views in one loss are nine trainings."""

from __future__ import annotations

import copy

import pytest
import torch

from lung_nodule.errors import LossOptionError
from lung_nodule.losses import ViewLoss
from lung_nodule.networks import MTCNN, RunningViews

LABEL = torch.tensor([[1.0], [0.0], [1.0], [0.0]])


def prediction(views: int = 3) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "logits": torch.randn(4, views, 2, generator=random),
        "reconstruction": torch.randn(4, views, 8, 8, generator=random),
        "image": torch.rand(4, views, 8, 8, generator=random),
    }


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_equals_the_papers_equations(alpha: float) -> None:
    """Minus the log-likelihood of sigmoid(z1 - z0), plus alpha times the pixels' mean, added up over the views."""
    output, expected = prediction(), 0.0
    for view in range(3):
        score = torch.sigmoid(output["logits"][:, view, 1] - output["logits"][:, view, 0])
        pixel, target = torch.sigmoid(output["reconstruction"][:, view]), output["image"][:, view]
        label = LABEL[:, 0]
        expected += -(label * score.log() + (1 - label) * (1 - score).log()).mean()
        expected += alpha * -(target * pixel.log() + (1 - target) * (1 - pixel).log()).mean()
    torch.testing.assert_close(ViewLoss(alpha=alpha)(output, LABEL), expected)


def test_the_single_task_needs_no_reconstruction() -> None:
    output = {"logits": prediction()["logits"]}
    assert ViewLoss(alpha=0)(output, LABEL) > 0
    with pytest.raises(LossOptionError, match="alpha must be 0 or more"):
        ViewLoss(alpha=-0.1)


def test_nine_views_in_one_loss_are_nine_trainings() -> None:
    """One optimizer over the summed loss moves every net as its own optimizer over its own loss does."""
    torch.manual_seed(0)
    together = MTCNN(width=0.125, image_size=32).eval()  # evaluation mode: no dropout to differ in
    apart = copy.deepcopy(together)
    image, loss = torch.rand(4, 9, 32, 32), ViewLoss()
    optimizer = torch.optim.Adam(together.parameters(), lr=0.01)
    optimizers = [torch.optim.Adam(net.parameters(), lr=0.01) for net in apart.views]
    for _ in range(3):
        optimizer.zero_grad()
        loss(RunningViews(together)(image), LABEL).backward()
        optimizer.step()
        for view, own in enumerate(optimizers):
            own.zero_grad()
            logits, pixels = apart.views[view](image[:, [view]])
            output = {"logits": logits[:, None], "reconstruction": pixels, "image": image[:, [view]]}
            loss(output, LABEL).backward()
            own.step()
    for expected, got in zip(apart.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
