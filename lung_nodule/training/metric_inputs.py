"""Inputs of MONAI's metric handlers from an engine's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.handlers import ROCAUC


class LabelledROCAUC(ROCAUC):
    """MONAI's area under the ROC curve over the nodules that have a class."""

    def update(self, output: Sequence[torch.Tensor]) -> None:
        """Scores and labels of an iteration; labels that are NaN are ignored."""
        score, label = output
        if not torch.isnan(label).any():
            super().update((score, label))


def score_and_class(output: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """For MONAI's metric handlers: a nodule's malignancy and its class, both ``[1, 1]``."""
    return output["malignancy_prob"][None], output["malignancy_label"].reshape(1, 1)


def segmentation_and_label(output: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """For MONAI's metric handlers: a nodule's final mask and its reference, both ``[1, 1, H, W, S]``."""
    segmentation = torch.from_numpy(np.moveaxis(output["segmentation"], 0, 2)[None, None].astype(np.float32))
    return segmentation, output["label"].cpu()


def mean_score_and_label(output: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """For MONAI's metric handlers: the mean of a nodule's views and its class, both ``[N]``."""
    return output["pred"].mean(dim=1), output["label"][:, 0]
