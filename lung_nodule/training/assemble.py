"""The best weights of every stage, put together as one model."""

from __future__ import annotations

import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from lung_nodule.errors import InputError
from lung_nodule.io import file_sha256, write_json
from lung_nodule.runtime.software import this_software
from lung_nodule.training.checkpoints import save_tensors, training_record
from lung_nodule.training.finite import all_finite

logger = logging.getLogger(__name__)


def write_model(
    path: str | Path, *, network: torch.nn.Module, stages: dict[str, str | Path], settings: dict[str, Any]
) -> None:
    """Put the best weights of every stage together: the model that evaluation, inference and export read.

    Writes ``path`` (tensors only) and, next to it, the side file ``<stem>.json`` that says which network they fit; of
    several ranks, rank 0 does. On every rank the network has these weights then, as the read-out is fitted with it.

    Args:
        path: path of the ``.pt`` file.
        network: the whole network.
        stages: ``best.pt`` of the stage by name of the submodule.
        settings: settings for the side file, with the SHA-256 of the weights, the software's versions and, by stage,
            what :func:`~lung_nodule.training.checkpoints.training_record` says.

    Raises:
        InputError: a stage has not been trained, or was trained on other weights of its upstream stage.
    """
    idist.barrier()  # rank 0 may still be writing the last stage
    _load_stages(path, network, stages)
    if idist.get_rank() == 0:
        _write(path, network, stages, settings)
    idist.barrier()


def _load_stages(path: str | Path, network: torch.nn.Module, stages: dict[str, str | Path]) -> None:
    missing = [str(checkpoint) for checkpoint in stages.values() if not Path(checkpoint).is_file()]
    if missing:
        raise InputError(
            f"cannot put {path} together, these are missing: {', '.join(missing)}; train every stage first"
        )
    refuse_stale_stages(stages)
    for name, checkpoint in stages.items():
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if not all_finite(weights):
            raise InputError(
                f"{checkpoint} has weights that are NaN or infinite: remove {Path(checkpoint).parent}, "
                "and train this stage with a lower learning rate"
            )
        network.get_submodule(name).load_state_dict(weights)


def _write(path: str | Path, network: torch.nn.Module, stages: dict[str, str | Path], settings: dict[str, Any]) -> None:
    save_tensors(path, network.state_dict())
    folders = [Path(checkpoint).parent for checkpoint in stages.values()]
    records = {folder.name: training_record(folder / "last.pt") for folder in folders}
    described = {**settings, "training": records, "software": _versions(), "weights_sha256": file_sha256(path)}
    write_json(Path(path).with_suffix(".json"), described)
    logger.info(f"wrote {path}")


def _versions() -> dict[str, str]:
    """Versions of this library, with its commit in a git checkout, and of the packages of the training."""
    packages = {name: version(name) for name in ("torch", "monai", "numpy")}
    return {"lung_nodule": this_software().name, "python": platform.python_version(), **packages}


def refuse_stale_stages(stages: dict[str, str | Path]) -> None:
    """Refuse a stage whose upstream weights, with which it was trained, no longer exist.

    Args:
        stages: ``best.pt`` of the stage by name of the submodule; the stage's ``last.pt`` is next to it.
    """
    hashes = {file_sha256(checkpoint) for checkpoint in stages.values()}
    for name, checkpoint in stages.items():
        last = Path(checkpoint).with_name("last.pt")
        upstream = torch.load(last, map_location="cpu", weights_only=True)["settings"].get("upstream")
        if upstream is not None and upstream not in hashes:
            raise InputError(
                f"the stage `{name}` in {last.parent} was trained with other upstream weights than "
                "the ones there now: run `training`, which trains it again"
            )
