"""One stage of a training: its data, optimization and validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import torch
from ignite.metrics import Metric
from lung_nodule.training.batches import PrepareTargets
from lung_nodule.training.checkpoints import StageCheckpoints
from lung_nodule.training.distributed import BroadcastBuffers, distributed_data_parallel
from lung_nodule.training.finite import StopAtNonFinite
from lung_nodule.training.initial_weights import LoadStageWeights, Pretrained
from lung_nodule.training.loaders import TrainingLoader
from lung_nodule.training.randomness import SeedEpochs
from lung_nodule.training.time_left import TimeLeft
from lung_nodule.training.weight_average import WeightAverage
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, StatsHandler, TensorBoardStatsHandler, ValidationHandler
from monai.inferers import Inferer
from monai.transforms import Transform
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader


@dataclass(kw_only=True)
class Stage:
    """A stage as data; :meth:`trainer` and :attr:`validator` build its two engines with MONAI's handlers.

    The same stage runs on one process and on several: gradients are averaged over the ranks, each rank validates its
    own nodules, and rank 0 alone logs.

    Args:
        name: name of the stage, for the log.
        directory: folder of the stage, for ``last.pt``, ``best.pt`` and the TensorBoard ``events``.
        device: device of both engines.
        network: network that the trainer runs, on that device.
        trained: part of ``network`` whose weights are the stage's result; all of it when not given.
        dataloader: training batches.
        targets: keys of a batch that the loss takes, as :class:`~lung_nodule.training.PrepareTargets` has them.
        inferer: inferer of the training.
        loss: loss of the network's output and the targets; the ``terms`` of a loss that has them are logged one by one.
        optimizer: optimizer of the trained weights.
        lr_scheduler: learning-rate schedule of the optimizer.
        steps_by_epoch: whether the schedule takes its step after an epoch; after every batch otherwise.
        memory_format: memory format of the training images, where the network has one of its own.
        find_unused_parameters: whether a part of the network gets no gradient in some step (several processes).
        upstream: ``best.pt`` of the stage before this one: none of its weights may change while this one is trained.
        initialized: modules that take the upstream weights when this stage starts.
        pretrained: weights from elsewhere that the stage starts from.
        validation_loader: validation batches; of no nodule where none is set aside (``kept_epoch`` must be ``"last"``).
        validation_network: network that the validator runs; ``network`` when not given.
        validation_targets: keys for the validation, as ``targets``, which is used when not given.
        validation_inferer: inferer of the validation.
        postprocessing: transform of the validator's outputs.
        key_metric: key metric by its name; the epoch where it is largest gives the stage's weights, the last of equals.
        kept_epoch: ``"best"``, by the key metric, or ``"last"``: the weights of the last epoch.
        average_decay: decay of a running average of the weights, which is validated and kept, as :class:`WeightAverage`
            takes it; their last values when not given.
        additional_metrics: further metrics by name, for the log.
        val_interval: number of epochs from one validation to the next.
        settings: settings that a resumed run must agree on, as :func:`~lung_nodule.training.resume_settings` collects
            it.
        schedule: settings that may follow from the number of epochs.
        checkpoints: handler that keeps and resumes the stage.
        seed: seed of all random numbers.
        small_version: options of a version that a CPU can train, for the log.
        handlers: more handlers of the trainer, after the stage's own.
        validation_handlers: more handlers of the validator, before those that log.
    """

    name: str
    directory: str | Path
    device: str | torch.device
    network: nn.Module
    dataloader: TrainingLoader
    targets: str | Sequence[str]
    inferer: Inferer
    loss: nn.Module
    optimizer: Optimizer
    lr_scheduler: LRScheduler
    validation_loader: DataLoader
    validation_inferer: Inferer
    key_metric: Mapping[str, Metric]
    settings: Mapping[str, Any]
    seed: int
    trained: nn.Module | None = None
    steps_by_epoch: bool = False
    memory_format: torch.memory_format = torch.preserve_format
    find_unused_parameters: bool = False
    upstream: str | Path | None = None
    initialized: Sequence[nn.Module] = ()
    pretrained: Pretrained | None = None
    validation_network: nn.Module | None = None
    validation_targets: str | Sequence[str] | None = None
    postprocessing: Transform | None = None
    additional_metrics: Mapping[str, Metric] = field(default_factory=dict)
    val_interval: int = 1
    kept_epoch: str = "best"
    average_decay: float | None = None
    schedule: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: Callable[..., StageCheckpoints] = StageCheckpoints
    small_version: str | None = None
    handlers: Sequence[Any] = ()
    validation_handlers: Sequence[Any] = ()

    def trainer(self, *, max_epochs: int) -> SupervisedTrainer:
        """The training engine; it starts, validates, keeps and resumes the stage when it runs.

        Args:
            max_epochs: total number of epochs of the stage.
        """
        engine = SupervisedTrainer(
            max_epochs=max_epochs,
            device=torch.device(self.device),
            train_data_loader=self.dataloader,
            network=distributed_data_parallel(self.network, find_unused_parameters=self.find_unused_parameters),
            loss_function=self.loss,
            optimizer=self.optimizer,
            inferer=self.inferer,
            prepare_batch=PrepareTargets(self.targets),
            to_kwargs={"memory_format": self.memory_format},
            train_handlers=[
                *self._upstream_weights(),
                SeedEpochs(seed=self.seed, transform=self.dataloader.transform),
                self._rates(),
                StopAtNonFinite(stage=self.name, network=self._result, optimizer=self.optimizer),
                *self._validation(),
                self._checkpoints(),  # after the validation, whose best epoch it keeps
                *([self.pretrained] if self.pretrained is not None else []),  # after what resumes
                *self._training_log(),
                TimeLeft(stage=self.name, small_version=self.small_version, validator=self._validator_of_epochs()),
                *self.handlers,
            ],
            decollate=False,
        )
        if self.average is not None:
            self.average.attach(engine)
        return engine

    @cached_property
    def average(self) -> WeightAverage | None:
        """The running average of what is trained, where the stage keeps one."""
        if self.average_decay is None:
            return None
        return WeightAverage(network=self._result, decay=self.average_decay)

    @cached_property
    def validator(self) -> SupervisedEvaluator:
        """The validation engine, which the trainer runs."""
        return SupervisedEvaluator(
            device=torch.device(self.device),
            val_data_loader=self.validation_loader,
            network=self.network if self.validation_network is None else self.validation_network,
            inferer=self.validation_inferer,
            prepare_batch=PrepareTargets(self.validation_targets or self.targets),
            postprocessing=self.postprocessing,
            key_val_metric=dict(self.key_metric),
            additional_metrics=dict(self.additional_metrics),
            val_handlers=[
                *([] if self.average is None else [self.average.lent]),
                *self.validation_handlers,
                *self._validation_log(),
                BroadcastBuffers(self.network),
            ],
            decollate=False,
            metric_cmp_fn=_at_least,
        )

    def _upstream_weights(self) -> list[LoadStageWeights]:
        if self.upstream is None:
            return []
        return [LoadStageWeights(checkpoint=self.upstream, network=module) for module in self.initialized]

    def _rates(self) -> LrScheduleHandler:
        schedule: Any = self.lr_scheduler  # MONAI names torch's former base class
        return LrScheduleHandler(schedule, print_lr=False, epoch_level=self.steps_by_epoch)

    @property
    def _result(self) -> nn.Module:
        """The module whose weights are the stage's result."""
        return self.network if self.trained is None else self.trained

    def _validator_of_epochs(self) -> SupervisedEvaluator | None:
        """The validation engine, where there is something to validate on."""
        return self.validator if len(cast(Sized, self.validation_loader.dataset)) else None

    def _validation(self) -> list[ValidationHandler]:
        validator = self._validator_of_epochs()
        return [] if validator is None else [ValidationHandler(interval=self.val_interval, validator=validator)]

    def _checkpoints(self) -> StageCheckpoints:
        average = {} if self.average is None else {"average": self.average}
        return self.checkpoints(
            directory=self.directory,
            network=self._result,
            state={"optimizer": self.optimizer, "lr_scheduler": self.lr_scheduler, **average},
            result=self._result if self.average is None else self.average.averaged.module,
            evaluator=self.validator if self.kept_epoch == "best" else None,
            settings=dict(self.settings),
            schedule=dict(self.schedule),
            upstream=self.upstream,
        )

    def _training_log(self) -> list[Any]:
        if idist.get_rank() > 0:
            return []
        return [
            StatsHandler(iteration_log=False, tag_name="train_loss", output_transform=_loss),
            TensorBoardStatsHandler(
                log_dir=str(self._events), tag_name="train_loss", output_transform=self._loss_and_terms
            ),
        ]

    def _validation_log(self) -> list[Any]:
        if idist.get_rank() > 0:
            return []
        return [
            StatsHandler(iteration_log=False),
            TensorBoardStatsHandler(log_dir=str(self._events), iteration_log=False),
        ]

    @property
    def _events(self) -> Path:
        return Path(self.directory) / "events"

    def _loss_and_terms(self, output: Mapping[str, Any]) -> float | dict[str, Any]:
        terms = getattr(self.loss, "terms", None)
        if terms is None:
            return _loss(output)
        return {**terms(output["pred"], output["label"]), "train_loss": output["loss"]}


def trainer_of(stage: Stage, *, max_epochs: int) -> SupervisedTrainer:
    """A stage's trainer, as a configuration builds it: MONAI looks for ``max_epochs`` among the trainer's arguments.

    Args:
        stage: stage to train.
        max_epochs: total number of epochs of the stage.
    """
    return stage.trainer(max_epochs=max_epochs)


def _loss(output: Mapping[str, Any]) -> float:
    return output["loss"].item()


def _at_least(current: float, best: float) -> bool:
    return current >= best
