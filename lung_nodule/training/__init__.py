"""Ignite pieces that MONAI lacks: stage hand-over, safe checkpoints, autocast on any device, slices to nodule."""

from .aggregation import AggregateSlices
from .autocast import AutocastInferer
from .batches import PrepareSlices
from .checkpoints import StageCheckpoints
from .stages import TakeOver, write_model

__all__ = ["AggregateSlices", "AutocastInferer", "PrepareSlices", "StageCheckpoints", "TakeOver", "write_model"]
