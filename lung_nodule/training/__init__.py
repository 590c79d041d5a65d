"""Training: stages with trainer and validator, checkpoints that resume, several processes, checked options."""

from lung_nodule.training.aggregation import Aggregate
from lung_nodule.training.assemble import write_model
from lung_nodule.training.batches import PrepareTargets
from lung_nodule.training.checkpoints import StageCheckpoints
from lung_nodule.training.distributed import (
    BroadcastBuffers,
    device_of_rank,
    distributed_data_parallel,
    end_ranks,
    part_of_rank,
    start_ranks,
)
from lung_nodule.training.inferers import AutocastInferer, EachSlice
from lung_nodule.training.initial_weights import LoadStageWeights, Pretrained, pretrained_hash
from lung_nodule.training.loaders import RankSampler, TrainingLoader, ValidationLoader, rank_batch_size
from lung_nodule.training.metric_inputs import (
    LabelledROCAUC,
    mean_score_and_label,
    score_and_class,
    segmentation_and_label,
)
from lung_nodule.training.options.check_options import check_options, require_folds, require_validation
from lung_nodule.training.options.command_errors import expected_errors_in_one_line
from lung_nodule.training.randomness import SeedEpochs, fixed_randomness, run, seeded_weights
from lung_nodule.training.readout.fit import fit_readout
from lung_nodule.training.readout.regression import fitted_readout
from lung_nodule.training.resume import resume_settings
from lung_nodule.training.schedules import three_rates
from lung_nodule.training.stage import Stage, trainer_of
from lung_nodule.training.time_left import TimeLeft
from lung_nodule.training.view_selection import ViewCheckpoints, ViewSelection

__all__ = [
    "Aggregate",
    "AutocastInferer",
    "BroadcastBuffers",
    "EachSlice",
    "LabelledROCAUC",
    "LoadStageWeights",
    "PrepareTargets",
    "Pretrained",
    "RankSampler",
    "SeedEpochs",
    "Stage",
    "StageCheckpoints",
    "TimeLeft",
    "TrainingLoader",
    "ValidationLoader",
    "ViewCheckpoints",
    "ViewSelection",
    "check_options",
    "device_of_rank",
    "distributed_data_parallel",
    "end_ranks",
    "expected_errors_in_one_line",
    "fit_readout",
    "fitted_readout",
    "fixed_randomness",
    "mean_score_and_label",
    "part_of_rank",
    "pretrained_hash",
    "rank_batch_size",
    "require_folds",
    "require_validation",
    "resume_settings",
    "run",
    "score_and_class",
    "seeded_weights",
    "segmentation_and_label",
    "start_ranks",
    "three_rates",
    "trainer_of",
    "write_model",
]
