"""From one stage of a training to the next, and to the finished model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256, write_json
from lung_nodule.training.checkpoints import save_tensors
from lung_nodule.training.extension import training_record
from monai.networks import copy_model_state

logger = logging.getLogger(__name__)


class LoadStageWeights:
    """Give a module an earlier stage's best weights when its own stage starts (never when it is built).

    Attach it before the handler that resumes.

    Args:
        checkpoint: ``best.pt`` of the earlier stage.
        network: the module that takes the weights; by name and shape, so that layers of its own keep their start.
    """

    def __init__(self, *, checkpoint: str | Path, network: torch.nn.Module) -> None:
        self.checkpoint = Path(checkpoint)
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Called by the trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if not self.checkpoint.is_file():
            raise InputError(f"no {self.checkpoint}: run the stage `{self.checkpoint.parent.name}` first")
        weights = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        _, taken, kept = copy_model_state(self.network, weights)
        mismatched = [key for key in kept if key in weights]
        if not taken or mismatched:
            raise InputError(
                f"{self.checkpoint} holds the weights of another network ({len(taken)} tensors fit, "
                f"{len(mismatched)} differ in shape): train with the same --width and --middle_blocks"
            )
        logger.info(f"took {len(taken)} tensors over from {self.checkpoint}, {len(kept)} start anew")


def write_model(
    path: str | Path, *, network: torch.nn.Module, stages: dict[str, str | Path], settings: dict[str, Any]
) -> None:
    """Put the best weights of every stage together: the model that evaluation, inference and export read.

    Writes ``path`` (tensors only) and, beside it, the side file ``<stem>.json`` that says which network they fit; of
    several ranks, rank 0 does.

    Args:
        path: the ``.pt`` file.
        network: the whole network.
        stages: for each submodule's name, its stage's ``best.pt``.
        settings: written to the side file, with the SHA-256 of the weights and, by stage, how many epochs it has seen
            and whether it was extended.

    Raises:
        InputError: a stage has not been trained, or was trained behind another earlier stage.
    """
    if idist.get_rank() == 0:
        _write_model(path, network, stages, settings)
    idist.barrier()


def _write_model(
    path: str | Path, network: torch.nn.Module, stages: dict[str, str | Path], settings: dict[str, Any]
) -> None:
    missing = [str(checkpoint) for checkpoint in stages.values() if not Path(checkpoint).is_file()]
    if missing:
        raise InputError(
            f"cannot put {path} together, these are missing: {', '.join(missing)}; train every stage first"
        )
    refuse_stale_stages(stages)
    for name, checkpoint in stages.items():
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network.get_submodule(name).load_state_dict(weights)
    save_tensors(path, network.state_dict())
    folders = [Path(checkpoint).parent for checkpoint in stages.values()]
    records = {folder.name: training_record(folder / "last.pt") for folder in folders}
    described = {**settings, "training": records, "weights_sha256": file_sha256(path)}
    write_json(Path(path).with_suffix(".json"), described)
    logger.info(f"wrote {path}")


def refuse_stale_stages(stages: dict[str, str | Path]) -> None:
    """Refuse a stage that was trained behind weights which no stage holds any longer.

    Args:
        stages: for each submodule's name, its stage's ``best.pt``; the stage's ``last.pt`` lies beside it.
    """
    hashes = {file_sha256(checkpoint) for checkpoint in stages.values()}
    for name, checkpoint in stages.items():
        last = Path(checkpoint).with_name("last.pt")
        behind = torch.load(last, map_location="cpu", weights_only=True)["settings"].get("behind")
        if behind is not None and behind not in hashes:
            raise InputError(
                f"the stage `{name}` in {last.parent} was trained behind other weights than the ones there now: "
                "run `training`, which trains it again"
            )
