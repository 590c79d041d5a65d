"""Ignite pieces that MONAI lacks: stage hand-over, safe checkpoints, autocast on any device, slices to nodule."""

from .aggregation import AggregateSlices, segmentation_and_label
from .autocast import AutocastInferer
from .batches import PrepareTargets
from .checkpoints import StageCheckpoints
from .cubes import AggregateCube, LabelledROCAUC, score_and_class
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
from .options import check_options, require_folds, require_validation
from .pretrained import Pretrained, pretrained_hash
from .running import fixed_randomness, run, seeded_weights
from .scores import EachSlice, MeanOfSlices
from .seeding import SeedEpochs
from .stages import TakeOver, write_model
from .time_left import TimeLeft
from .views import FuseViews, ViewCheckpoints, ViewSelection

__all__ = [
    "AggregateCube",
    "AggregateSlices",
    "AutocastInferer",
    "FuseViews",
    "EachSlice",
    "MeanOfSlices",
    "LabelledROCAUC",
    "PrepareTargets",
    "Pretrained",
    "SameBuffers",
    "SeedEpochs",
    "ShareOfRank",
    "StageCheckpoints",
    "TakeOver",
    "TimeLeft",
    "ViewCheckpoints",
    "ViewSelection",
    "expected_errors_in_one_line",
    "fixed_randomness",
    "pretrained_hash",
    "score_and_class",
    "run",
    "seeded_weights",
    "across_ranks",
    "check_options",
    "device_of_rank",
    "end_ranks",
    "rank",
    "require_folds",
    "require_validation",
    "segmentation_and_label",
    "share",
    "start_ranks",
    "world_size",
    "write_model",
]
