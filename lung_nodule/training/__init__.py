"""Ignite pieces that MONAI lacks: stage hand-over, safe checkpoints, autocast on any device, slices to nodule."""

from .aggregation import AggregateSlices, segmentation_and_label
from .autocast import AutocastInferer
from .batches import PrepareSlices
from .checkpoints import StageCheckpoints
from .errors import expected_errors_in_one_line
from .pretrained import Pretrained, pretrained_hash
from .scores import EachSlice, MeanOfSlices, PrepareScores
from .seeding import SeedEpochs
from .stages import TakeOver, write_model
from .views import FuseViews, ViewCheckpoints, ViewSelection

__all__ = [
    "AggregateSlices",
    "AutocastInferer",
    "FuseViews",
    "EachSlice",
    "MeanOfSlices",
    "PrepareScores",
    "PrepareSlices",
    "Pretrained",
    "SeedEpochs",
    "StageCheckpoints",
    "TakeOver",
    "ViewCheckpoints",
    "ViewSelection",
    "expected_errors_in_one_line",
    "pretrained_hash",
    "segmentation_and_label",
    "write_model",
]
