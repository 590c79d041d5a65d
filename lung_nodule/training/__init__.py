"""Ignite pieces that MONAI lacks: stage hand-over, safe checkpoints, autocast on any device, slices to nodule."""

from .aggregation import AggregateSlices, segmentation_and_label
from .autocast import AutocastInferer
from .batches import PrepareSlices
from .checkpoints import StageCheckpoints
from .stages import TakeOver, refuse_training_fold, write_model

__all__ = [
    "AggregateSlices",
    "AutocastInferer",
    "PrepareSlices",
    "StageCheckpoints",
    "TakeOver",
    "refuse_training_fold",
    "segmentation_and_label",
    "write_model",
]
