"""Ignite pieces that MONAI lacks: stage hand-over, safe checkpoints, autocast on any device, slices to nodule."""

from .aggregation import AggregateSlices, segmentation_and_label
from .autocast import AutocastInferer
from .batches import PrepareSlices
from .checkpoints import StageCheckpoints
from .cubes import AggregateCube, LabelledROCAUC, PrepareCubes, score_and_class
from .errors import expected_errors_in_one_line
from .pretrained import Pretrained, pretrained_hash
from .scores import EachSlice, MeanOfSlices, PrepareScores
from .seeding import SeedEpochs
from .stages import TakeOver, write_model
from .views import FuseViews, ViewCheckpoints, ViewSelection

__all__ = [
    "AggregateCube",
    "AggregateSlices",
    "AutocastInferer",
    "FuseViews",
    "EachSlice",
    "MeanOfSlices",
    "PrepareScores",
    "LabelledROCAUC",
    "PrepareCubes",
    "PrepareSlices",
    "Pretrained",
    "SeedEpochs",
    "StageCheckpoints",
    "TakeOver",
    "ViewCheckpoints",
    "ViewSelection",
    "expected_errors_in_one_line",
    "pretrained_hash",
    "score_and_class",
    "segmentation_and_label",
    "write_model",
]
