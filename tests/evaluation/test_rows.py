"""What an evaluation knows of a nodule, wherever the network computed it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lung_nodule.evaluation.rows import nodule_of


class OnAccelerator(torch.Tensor):
    """A tensor that numpy cannot read before it is brought to the CPU, as on a GPU."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("can't convert device tensor to numpy")

    def cpu(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


def test_tensors_of_an_output_come_to_the_cpu() -> None:
    label = torch.ones(1, 1, 2, 2, 3).as_subclass(OnAccelerator)
    with pytest.raises(TypeError, match="device tensor"):
        np.asarray(label)
    engine = SimpleNamespace(state=SimpleNamespace(batch={"nodule_id": "n1", "label": None}, output={"label": label}))
    nodule = nodule_of(engine)
    assert nodule["nodule_id"] == "n1"
    assert np.asarray(nodule["label"]).sum() == 12
