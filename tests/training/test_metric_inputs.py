"""The metrics that choose an epoch, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lung_nodule.training import LabelledROCAUC


def test_nodules_without_a_class_are_left_out() -> None:
    random = np.random.default_rng(0)
    score, label = random.random(40), np.repeat([0.0, 1.0, np.nan, 1.0], 10)
    metric = LabelledROCAUC()
    for one, of in zip(score, label, strict=True):
        metric.update((torch.tensor([[one]]), torch.tensor([[of]])))
    known = ~np.isnan(label)
    assert metric.compute() == pytest.approx(roc_auc_score(label[known], score[known]))


def test_a_rank_that_saw_no_class_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it gathers with the others is not empty; here the others' is put behind its own."""
    metric = LabelledROCAUC()
    metric.update((torch.tensor([[0.3]]), torch.tensor([[float("nan")]])))
    score, label = metric.metric_fn.get_buffer()
    assert score.shape == label.shape == (1, 1)
    others = torch.tensor([[0.9], [0.1]]), torch.tensor([[1.0], [0.0]])
    gathered = tuple(torch.cat(pair) for pair in zip((score, label), others, strict=True))
    monkeypatch.setattr(metric.metric_fn, "get_buffer", lambda: gathered)
    assert metric.compute() == 1.0
