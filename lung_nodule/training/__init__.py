"""Ignite pieces that MONAI lacks: stage hand-over, safe checkpoints, autocast on any device, slices to nodule."""

from .aggregation import AggregateSlices, segmentation_and_label
from .autocast import AutocastInferer
from .batches import PrepareSlices
from .checkpoints import StageCheckpoints
from .distributed import (
    SameBuffers,
    ShareOfRank,
    across_ranks,
    device_of_rank,
    end_ranks,
    rank,
    share,
    start_ranks,
    world_size,
)
from .errors import expected_errors_in_one_line
from .pretrained import Pretrained, pretrained_hash
from .seeding import SeedEpochs
from .stages import TakeOver, write_model

__all__ = [
    "AggregateSlices",
    "AutocastInferer",
    "PrepareSlices",
    "Pretrained",
    "SameBuffers",
    "SeedEpochs",
    "ShareOfRank",
    "StageCheckpoints",
    "TakeOver",
    "across_ranks",
    "device_of_rank",
    "end_ranks",
    "expected_errors_in_one_line",
    "pretrained_hash",
    "rank",
    "segmentation_and_label",
    "share",
    "start_ranks",
    "world_size",
    "write_model",
]
