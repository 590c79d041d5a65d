"""Aggregate the network's outputs for one nodule with its method's view."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lung_nodule.core import NoduleView
from monai.transforms import Transform


class Aggregate(Transform):
    """The prediction that a view makes of a network's one tensor, with the functions that the served steps use.

    Takes ``pred`` of one nodule, with the batch first: ``[1, C, ...]``; of a slice-wise view maps ``[1, C, H, W, S]``
    or scores ``[S, C]``; and ``patch``, as :class:`~lung_nodule.data.ViewNodule` gives it. Adds ``prediction`` (a
    :class:`~lung_nodule.core.Prediction`) and, for MONAI's metrics,

    * the score under its name: float32 ``[1]``; with ``malignancy_label`` where the item has a class.
    * ``segmentation``, of a view that segments: bool ``[S, H, W]``, the mask on the patch's grid.

    Args:
        view: view of the method.
        channels: names of the channels of ``pred``, where the network gives only some of the view's.
        score: name of the score that the network was trained to predict, ``malignancy_prob`` or ``nodule_prob``.
        measure: whether the prediction includes the view's measurements of the nodule.
    """

    def __init__(
        self,
        view: NoduleView,
        *,
        channels: Sequence[str] | None = None,
        score: str = "malignancy_prob",
        measure: bool = False,
    ) -> None:
        self.view = view
        self.channels = tuple(view.channels if channels is None else channels)
        self.score = score
        self.measure = measure

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        ct: Any = data.get("ct")  # only what is measured needs it
        diameter = data.get("diameter_mm")
        outputs, patch = self._outputs(data["pred"]), data["patch"]
        prediction = self.view.predict(outputs, patch, ct, diameter, measure=self.measure)
        result = {**data, "prediction": prediction}
        if prediction.score is not None:
            result[self.score] = torch.tensor([prediction.score], dtype=torch.float32)
        if "malignancy" in data:
            result["malignancy_label"] = torch.as_tensor(data["malignancy"]).cpu()
        if self.view.segments:
            result["segmentation"] = prediction.on_patch()
        return result

    def _outputs(self, pred: Any) -> dict[str, np.ndarray]:
        """Float32 ``[N, ...]`` by name of the channel."""
        tensor = torch.as_tensor(pred).detach().float().cpu().numpy()
        if self.view.slicewise and tensor.ndim == 5:
            tensor = np.moveaxis(tensor[0], 3, 0)
        return self.view.named(tensor, self.channels)
