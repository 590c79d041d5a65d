"""Inputs of MONAI's metric handlers from an engine's output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from monai.handlers import ROCAUC
from monai.metrics import compute_roc_auc


class LabelledROCAUC(ROCAUC):
    """MONAI's area under the ROC curve over the nodules that have a class.

    All are gathered, also those whose label is NaN: a rank may have validated no other, and must take part.
    """

    def compute(self) -> float:
        """The area over the labels that are not NaN."""
        score, label = cast(tuple[torch.Tensor, torch.Tensor], self.metric_fn.get_buffer())
        known = ~torch.isnan(label).flatten()
        self._is_reduced = True
        return float(compute_roc_auc(score[known], label[known]))  # type: ignore[arg-type]


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
